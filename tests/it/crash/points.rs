//! Every named point: the gateway kills itself there, once and a second or fifth time, amid work that must come by.

use std::hash::{DefaultHasher, Hash, Hasher};

use tidegate::crash::POINTS;

use super::documents::Document;
use super::gateway::{Gateway, Gone};
use super::world::World;

/// So often is a work done in vain before the point counts as never reached.
const TRIES: usize = 12;

#[derive(Debug, Clone, Copy)]
enum Work {
    Append,
    Clear,
    /// The chunks of an upload, left incomplete.
    Chunks,
    Upload,
    DeleteUpload,
    /// Of a document: small or large, new or in the place of one.
    PutNew,
    PutNewLarge,
    Replace,
    ReplaceLarge,
    Delete,
}

use Work::*;

/// One test for each point, that kills the gateway there once for each case: the time that it is reached, and what reaches it.
macro_rules! points {
    ($($test:ident $point:literal: $(($time:literal, $work:ident))*;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            die_at($point, &[$(($time, $work)),*]).await;
        })*

        #[test]
        fn every_point_has_its_test() {
            assert_eq!([$($point),*], POINTS);
        }
    };
}

points! {
    admit_done "admit.done": (1, PutNew) (2, Upload) (1, Chunks) (1, Replace);
    receive_opened "receive.opened": (1, Chunks) (2, Upload);
    receive_part_written "receive.part-written": (1, Chunks) (2, Chunks) (5, Upload);
    receive_receipt_kept "receive.receipt-kept": (1, Chunks) (2, Upload) (5, Chunks) (17, Chunks);
    append_written "append.written": (1, Append) (2, Append) (5, Clear);
    append_committed "append.committed": (1, Append) (5, Append) (2, Clear);
    clear_committed "clear.committed": (1, Clear) (2, Clear);
    stray_copied "stray.copied": (1, Chunks) (2, Upload) (1, Upload);
    stray_receipt_kept "stray.receipt-kept": (1, Chunks) (2, Upload) (1, Upload);
    seal_writes_ended "seal.writes-ended": (1, Upload) (2, Upload);
    seal_committed "seal.committed": (1, Upload) (2, Upload);
    assemble_begun "assemble.begun": (1, Upload) (2, Upload);
    assemble_copied "assemble.copied": (1, Upload) (2, Upload) (5, Upload) (12, Upload);
    assemble_done "assemble.done": (1, Upload) (1, Upload) (1, Upload) (1, Upload) (1, Upload) (2, Upload);
    validate_begun "validate.begun": (1, Upload) (2, PutNew) (1, Replace) (1, PutNewLarge);
    validate_done "validate.done": (1, Upload) (2, PutNew) (1, Replace) (1, ReplaceLarge);
    publish_prepared "publish.prepared": (1, PutNew) (1, PutNewLarge) (2, Replace) (1, ReplaceLarge) (1, Upload);
    publish_declared "publish.declared": (1, PutNew) (1, PutNewLarge) (2, Replace) (1, ReplaceLarge) (1, Upload);
    publish_placed "publish.placed": (1, PutNew) (1, PutNewLarge) (2, Replace) (1, ReplaceLarge) (1, Upload) (2, Upload);
    publish_committed "publish.committed": (1, PutNew) (1, PutNewLarge) (2, Replace) (1, ReplaceLarge) (1, Upload);
    publish_settled "publish.settled": (1, PutNew) (2, Replace) (1, ReplaceLarge) (1, Upload);
    delete_declared "delete.declared": (1, Delete) (2, Delete) (1, DeleteUpload);
    delete_removed "delete.removed": (1, Delete) (2, Delete) (1, DeleteUpload);
    delete_committed "delete.committed": (1, Delete) (2, Delete) (1, DeleteUpload);
    follow_up_begun "follow-up.begun": (1, PutNew) (2, Replace) (1, Upload) (1, DeleteUpload);
    follow_up_ended "follow-up.ended": (1, PutNew) (2, Replace) (1, Upload) (1, DeleteUpload);
    follow_up_settled "follow-up.settled": (1, PutNew) (2, Replace) (1, Upload) (1, DeleteUpload);
}

async fn die_at(point: &str, cases: &[(usize, Work)]) {
    let mut seed = DefaultHasher::new();
    point.hash(&mut seed);
    let mut world = World::new(seed.finish()).await;
    let mut gateway = world.start(None);
    begin(&mut world, &gateway).await.expect("nothing has been killed yet");
    for &(time, work) in cases {
        let case = format!("{point}:{time}");
        println!("{case} under {work:?}");
        gateway.kill();
        gateway = world.start(Some(&case));
        let before = world.acknowledged();
        let mut tries = 0;
        while world.work(&gateway, work).await.is_ok() {
            tries += 1;
            assert!(tries < TRIES, "{case} was never reached by {work:?}");
        }
        gateway.died(&case).await;
        // Two chunks are under way at once, so the second can come by before the first one is answered.
        assert!(before > 0 && (time <= 2 || world.acknowledged() > before), "{case}: nothing was acknowledged before");
        gateway = world.start(None);
        world.check(&gateway, true).await;
    }
}

/// There is no record yet of the file that the first append makes: what it leaves behind is not taken for an old file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_very_first_append() {
    let mut world = World::new(1).await;
    let gateway = world.start(Some("append.written"));
    world.work(&gateway, Append).await.expect_err("it was to die");
    gateway.died("append.written").await;
    let gateway = world.start(None);
    world.check(&gateway, true).await;
    world.work(&gateway, Append).await.expect("nothing is killed here");
    world.check(&gateway, true).await;
}

/// Something of everything, acknowledged and left alone.
async fn begin(world: &mut World, gateway: &Gateway) -> Result<(), Gone> {
    for work in [Append, Append, Upload, Chunks, PutNew, PutNewLarge] {
        world.work(gateway, work).await?;
    }
    world.check(gateway, false).await;
    Ok(())
}

impl World {
    async fn work(&mut self, gateway: &Gateway, work: Work) -> Result<(), Gone> {
        match work {
            Append => self.appends.append(gateway, &mut self.random).await,
            Clear => {
                self.appends.append(gateway, &mut self.random).await?;
                self.appends.clear(gateway).await
            }
            Chunks => {
                let upload = self.new_upload();
                self.uploads.push(upload);
                self.uploads.last_mut().unwrap().send_missing(gateway).await
            }
            Upload => {
                let upload = self.new_upload();
                self.uploads.push(upload);
                self.uploads.last_mut().unwrap().finish(gateway).await
            }
            DeleteUpload => {
                let upload = self.new_upload();
                self.uploads.push(upload);
                let upload = self.uploads.last_mut().unwrap();
                upload.finish(gateway).await?;
                upload.delete(gateway).await
            }
            PutNew | PutNewLarge => {
                let name = format!("comptes_{}.json", self.documents.len());
                self.documents.push(Document::new("Société A", &name));
                self.put(gateway, self.documents.len() - 1, matches!(work, PutNewLarge)).await
            }
            Replace | ReplaceLarge => {
                let there = self.documents.iter().position(|document| document.content.is_some()).unwrap();
                self.put(gateway, there, matches!(work, ReplaceLarge)).await
            }
            Delete => {
                let name = format!("comptes_{}.json", self.documents.len());
                self.documents.push(Document::new("Société B", &name));
                self.put(gateway, self.documents.len() - 1, false).await?;
                self.documents.last_mut().unwrap().delete(gateway).await
            }
        }
    }

    async fn put(&mut self, gateway: &Gateway, document: usize, large: bool) -> Result<(), Gone> {
        self.documents[document].put(gateway, &mut self.random, large).await
    }
}
