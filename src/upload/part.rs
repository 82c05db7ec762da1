//! A numbered part on its way in. Its bytes may come before the fields that say where they belong: they are held in memory, out of
//! one budget for all, past it in a file, until they can be placed. A part counts only whole.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Uploads;
use super::active::{Active, Claim, Visit};
use super::error::{UploadError, sealed};
use super::ledger::MAX_NUMBER;
use super::port::{Announced, ChangeAnswer, Place, Receipt, SpoolFile, UploadKey};
use super::requests::Request;
use crate::auth::Principal;
use crate::collection::Collection;
use crate::crash;
use crate::digest::Crc;
use crate::fault::Fault;
use crate::name;
use crate::to_the_end::to_the_end;

/// The budget is counted in pieces of this size, since a semaphore's permits are few.
const PERMIT: u64 = 4 * 1024;

/// Memory for parts whose place is not known, over all uploads.
pub(super) struct Memory(Arc<Semaphore>);

impl Memory {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Arc::new(Semaphore::new((bytes / PERMIT) as usize)))
    }

    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from((bytes as u64).div_ceil(PERMIT)).ok()?;
        self.0.clone().try_acquire_many_owned(permits).ok()
    }
}

/// A part that is being received. Dropping it leaves no trace.
pub struct PartIntake {
    uploads: Uploads,
    collection: Arc<Collection>,
    principal: Principal,
    request: Request,
    target: Option<Target>,
    held: Held,
    crc: Crc,
    length: u64,
}

struct Target {
    visit: Visit,
    number: u32,
}

impl Target {
    fn active(&self) -> &Arc<Active> {
        &self.visit.active
    }
}

/// Where the bytes are so far.
enum Held {
    Nothing,
    Memory {
        pieces: Vec<Bytes>,
        permits: Vec<OwnedSemaphorePermit>,
    },
    /// A staging file that belongs to no upload yet.
    Loose(Arc<dyn SpoolFile>),
    Overflow {
        file: Arc<dyn SpoolFile>,
        number: u32,
    },
    /// In the spool, at the part's own place.
    InPlace(Arc<Claim>),
}

impl Uploads {
    /// Begins to receive a part. The request counts from here: a delete that comes later wins.
    pub fn part(&self, principal: &Principal, collection: &Arc<Collection>) -> PartIntake {
        PartIntake {
            uploads: self.clone(),
            collection: collection.clone(),
            principal: principal.clone(),
            request: self.core.requests.begin(),
            target: None,
            held: Held::Nothing,
            crc: Crc::default(),
            length: 0,
        }
    }
}

impl PartIntake {
    /// Says which part of which upload this is, once that is known: before, between or after the bytes.
    pub async fn address(&mut self, session: &str, number: u32, announced: &Announced) -> Result<(), UploadError> {
        if number > MAX_NUMBER {
            return Err(UploadError::Field { field: "chunkNumber", message: format!("at most {MAX_NUMBER}") });
        }
        let key = UploadKey {
            collection: self.collection.name.to_string(),
            principal: self.principal.as_str().to_owned(),
            session: name::session_id(session)?,
        };
        let visit = self.uploads.open(&self.collection, key, announced, &self.request).await?;
        visit.active.begin(number)?;
        if matches!(self.held, Held::Nothing)
            && let Some(claim) = visit.active.claim(number)
        {
            self.held = Held::InPlace(claim);
        }
        self.target = Some(Target { visit, number });
        Ok(())
    }

    pub fn is_addressed(&self) -> bool {
        self.target.is_some()
    }

    /// Takes the next bytes of the part.
    pub async fn write(&mut self, data: Bytes) -> Result<(), UploadError> {
        let end = self.length + data.len() as u64;
        if end > self.collection.max_file_size {
            return Err(UploadError::TooLarge { limit: self.collection.max_file_size });
        }
        self.crc.update(&data);
        if let Held::InPlace(claim) = &self.held
            && end > claim.length()
        {
            self.leave_place(claim.clone()).await?;
        }
        if let Held::Nothing | Held::Memory { .. } = self.held
            && !self.hold_in_memory(&data)
        {
            self.leave_memory().await?;
        }
        match &self.held {
            Held::Nothing | Held::Memory { .. } => {}
            Held::Loose(file) | Held::Overflow { file, .. } => write(file, self.length, data, Arc::new(())).await?,
            Held::InPlace(claim) => {
                let spool = &self.target()?.active().spool;
                write(spool, claim.range.start + self.length, data, claim.clone()).await?;
            }
        }
        self.length = end;
        Ok(())
    }

    fn hold_in_memory(&mut self, data: &Bytes) -> bool {
        let Some(permit) = self.uploads.core.memory.take(data.len()) else { return false };
        match &mut self.held {
            Held::Memory { pieces, permits } => {
                pieces.push(data.clone());
                match permits.last_mut() {
                    Some(all) => all.merge(permit),
                    None => permits.push(permit),
                }
            }
            _ => self.held = Held::Memory { pieces: vec![data.clone()], permits: vec![permit] },
        }
        true
    }

    /// The budget is used up: what is held moves to a file.
    async fn leave_memory(&mut self) -> Result<(), UploadError> {
        let moved = match &self.target {
            Some(target) => {
                let (file, number) = self.uploads.new_overflow(target.active()).await?;
                Held::Overflow { file, number }
            }
            None => Held::Loose(self.uploads.core.staging.create_whole().await?),
        };
        let held = std::mem::replace(&mut self.held, moved);
        let (Held::Memory { pieces, .. }, Held::Loose(file) | Held::Overflow { file, .. }) = (held, &self.held) else {
            return Ok(());
        };
        write_pieces(file, 0, pieces, Arc::new(())).await
    }

    /// The part is longer than its place: it moves out before it could write into its neighbour's.
    async fn leave_place(&mut self, claim: Arc<Claim>) -> Result<(), UploadError> {
        let active = self.target()?.active().clone();
        let (file, number) = self.uploads.new_overflow(&active).await?;
        file.clone().copy_from(active.spool.clone(), claim.range.start, 0, self.length).await?;
        self.held = Held::Overflow { file, number };
        Ok(())
    }

    fn target(&self) -> Result<&Target, UploadError> {
        self.target.as_ref().ok_or_else(unaddressed)
    }

    /// All bytes have come: the part is placed, its receipt committed. `announced` is what the request said.
    pub async fn finish(mut self, announced: Announced) -> Result<(), UploadError> {
        let target = self.target.take().ok_or_else(unaddressed)?;
        self.uploads.announce(&self.collection, target.active(), &announced).await?;
        let held = std::mem::replace(&mut self.held, Held::Nothing);
        let commit = Commit {
            uploads: self.uploads,
            target,
            length: self.length,
            crc: self.crc.finish(),
            limit: self.collection.max_file_size,
            _request: self.request,
        };
        // A client that goes away now does not leave memory and catalog apart.
        to_the_end("keep a part", commit.run(held)).await
    }
}

fn unaddressed() -> UploadError {
    UploadError::Field { field: "sessionId", message: "missing: it says which upload the chunk belongs to".to_owned() }
}

/// What is left to do when a part's bytes are all here.
struct Commit {
    uploads: Uploads,
    target: Target,
    length: u64,
    crc: u64,
    limit: u64,
    /// The request is under way until the receipt is kept.
    _request: Request,
}

impl Commit {
    async fn run(self, held: Held) -> Result<(), UploadError> {
        let (place, file, claim) = self.place(held).await?;
        self.commit(place, &file, claim).await?;
        file.keep();
        let active = self.target.active();
        self.uploads.bring_strays_home(active).await;
        if let Some(front) = &active.front {
            front.keep_up().await;
        }
        Ok(())
    }

    /// The bytes where they will stay.
    async fn place(&self, held: Held) -> Result<(Place, Arc<dyn SpoolFile>, Option<Arc<Claim>>), UploadError> {
        match held {
            Held::InPlace(claim) => {
                Ok((Place::Spool { offset: claim.range.start }, self.target.active().spool.clone(), Some(claim)))
            }
            Held::Overflow { file, number } => Ok((Place::Overflow { number }, file, None)),
            Held::Nothing => self.place_pieces(Vec::new()).await,
            Held::Memory { pieces, permits } => {
                let placed = self.place_pieces(pieces).await;
                drop(permits);
                placed
            }
            Held::Loose(loose) => {
                let (place, file, claim) = self.find_place().await?;
                let offset = claim.as_ref().map_or(0, |claim| claim.range.start);
                file.clone().copy_from(loose, 0, offset, self.length).await?;
                Ok((place, file, claim))
            }
        }
    }

    async fn place_pieces(
        &self,
        pieces: Vec<Bytes>,
    ) -> Result<(Place, Arc<dyn SpoolFile>, Option<Arc<Claim>>), UploadError> {
        let (place, file, claim) = self.find_place().await?;
        let offset = claim.as_ref().map_or(0, |claim| claim.range.start);
        let hold: super::port::Hold = match &claim {
            Some(claim) => claim.clone(),
            None => Arc::new(()),
        };
        write_pieces(&file, offset, pieces, hold).await?;
        Ok((place, file, claim))
    }

    async fn find_place(&self) -> Result<(Place, Arc<dyn SpoolFile>, Option<Arc<Claim>>), UploadError> {
        match self.target.active().claim_complete(self.target.number, self.length) {
            Some(claim) => {
                Ok((Place::Spool { offset: claim.range.start }, self.target.active().spool.clone(), Some(claim)))
            }
            None => {
                let (file, number) = self.uploads.new_overflow(self.target.active()).await?;
                Ok((Place::Overflow { number }, file, None))
            }
        }
    }

    async fn commit(
        &self,
        place: Place,
        file: &Arc<dyn SpoolFile>,
        claim: Option<Arc<Claim>>,
    ) -> Result<(), UploadError> {
        if self.uploads.files.is_durable() {
            file.clone().sync().await?;
        }
        crash::point("receive.part-written");
        let _number = self.target.active().lock_number(self.target.number).await;
        self.target.active().enter_commit()?;
        let kept = self.keep(place, claim).await;
        self.target.active().leave_commit();
        let replaced = kept?;
        crash::point("receive.receipt-kept");
        if let Some(Receipt { place: Place::Overflow { number }, .. }) = replaced {
            self.uploads.core.staging.remove_overflow(self.target.active().id, number).await;
        }
        Ok(())
    }

    async fn keep(&self, place: Place, claim: Option<Arc<Claim>>) -> Result<Option<Receipt>, UploadError> {
        let catalog = &self.uploads.core.catalog;
        let active = self.target.active();
        let (is_there, bytes) = {
            let state = active.state.lock();
            (state.ledger.has(self.target.number), state.ledger.bytes())
        };
        let replaced = if is_there { catalog.receipt(active.id, self.target.number).await? } else { None };
        let bytes = bytes - replaced.as_ref().map_or(0, |receipt| receipt.length) + self.length;
        if bytes > self.limit {
            return Err(UploadError::TooLarge { limit: self.limit });
        }
        let receipt = Receipt { number: self.target.number, place, length: self.length, crc: self.crc };
        match catalog.keep_receipt(active.id, receipt.clone(), Timestamp::now()).await? {
            ChangeAnswer::Done => {}
            _ => return Err(sealed()),
        }
        let claimed = claim.map(|claim| {
            claim.settle();
            claim.range.clone()
        });
        let mut state = active.state.lock();
        state.ledger.keep(&receipt, claimed, replaced.as_ref());
        if let Some(front) = &active.front {
            if let Some(Receipt { place: Place::Spool { offset }, .. }) = replaced {
                front.replaced(offset);
            }
            front.advance(&active.spool.file(), state.ledger.front());
        }
        Ok(replaced)
    }
}

impl Uploads {
    async fn new_overflow(&self, active: &Active) -> Result<(Arc<dyn SpoolFile>, u32), Fault> {
        let number = active.next_overflow();
        Ok((self.core.staging.create_overflow(active.id, number).await?, number))
    }
}

async fn write(
    file: &Arc<dyn SpoolFile>,
    offset: u64,
    data: Bytes,
    hold: super::port::Hold,
) -> Result<(), UploadError> {
    if file.clone().write_at(offset, data, hold).await? { Ok(()) } else { Err(sealed()) }
}

async fn write_pieces(
    file: &Arc<dyn SpoolFile>,
    mut offset: u64,
    pieces: Vec<Bytes>,
    hold: super::port::Hold,
) -> Result<(), UploadError> {
    for piece in pieces {
        let length = piece.len() as u64;
        write(file, offset, piece, hold.clone()).await?;
        offset += length;
    }
    Ok(())
}
