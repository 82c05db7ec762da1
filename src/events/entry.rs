//! An entry of the log as it is held in memory and shared by everyone who hears of it: the event, and the texts
//! that dialects made of it, each made once.

use std::sync::{Arc, OnceLock};

use super::{Event, Position};

/// How many dialects can keep a text with an entry.
const RENDER_SLOTS: usize = 4;

/// Where a dialect keeps its text of an entry. Whoever assembles the dialects deals the slots out, one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderSlot(usize);

impl RenderSlot {
    /// For constants: a number that is too high does not compile there.
    pub const fn nth(number: usize) -> Self {
        assert!(number < RENDER_SLOTS, "there are as many render slots as RENDER_SLOTS says");
        Self(number)
    }
}

/// An event, and what dialects have made of it.
#[derive(Debug)]
pub struct Entry {
    event: Event,
    rendered: [OnceLock<Arc<str>>; RENDER_SLOTS],
}

impl Entry {
    pub(super) fn new(event: Event) -> Arc<Self> {
        Arc::new(Self { event, rendered: [const { OnceLock::new() }; RENDER_SLOTS] })
    }

    pub fn event(&self) -> &Event {
        &self.event
    }

    pub fn position(&self) -> Position {
        self.event.position
    }

    /// The text that `render` makes of the event: the first who asks for a slot makes it, the others share it.
    pub fn rendered(&self, slot: RenderSlot, render: impl FnOnce(&Event) -> String) -> Arc<str> {
        self.rendered[slot.0].get_or_init(|| Arc::from(render(&self.event))).clone()
    }

    /// About how many bytes the entry takes, with the texts that it will get: they repeat its names.
    pub(super) fn weight(&self) -> usize {
        const FIXED: usize = 512;
        let event = &self.event.event;
        FIXED + 2 * (event.collection.len() + event.tenant.len() + event.file_name.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::testing::uploaded;

    #[test]
    fn a_text_is_made_once_for_each_slot() {
        let entry = Entry::new(Event { position: 7, event: uploaded("files", "acme", "a.json") });
        let first = entry.rendered(RenderSlot::nth(0), |event| format!("relay {}", event.position));
        let again = entry.rendered(RenderSlot::nth(0), |_| "made twice".to_owned());
        let other = entry.rendered(RenderSlot::nth(1), |event| format!("polling {}", event.position));
        assert_eq!((&*first, &*other), ("relay 7", "polling 7"));
        assert!(Arc::ptr_eq(&first, &again));
    }
}
