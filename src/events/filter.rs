//! Which events a subscriber wants to hear of.

use super::{EventKind, NewEvent};

/// What is empty or absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub collections: Vec<String>,
    pub tenant: Option<String>,
    pub kinds: Vec<EventKind>,
}

impl Filter {
    /// Everything that happens in one collection.
    pub fn collection(name: impl Into<String>) -> Self {
        Self { collections: vec![name.into()], ..Self::default() }
    }

    pub fn matches(&self, event: &NewEvent) -> bool {
        (self.collections.is_empty() || self.collections.contains(&event.collection))
            && self.tenant.as_ref().is_none_or(|tenant| *tenant == event.tenant)
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::testing::uploaded;

    #[test]
    fn each_restriction_counts_and_none_is_all() {
        let event = uploaded("files", "acme", "a.json");
        assert!(Filter::default().matches(&event));
        assert!(Filter::collection("files").matches(&event));
        assert!(!Filter::collection("other").matches(&event));
        let tenant = |name: &str| Filter { tenant: Some(name.to_owned()), ..Filter::collection("files") };
        assert!(tenant("acme").matches(&event));
        assert!(!tenant("Acme").matches(&event));
        let kinds = |kinds: &[EventKind]| Filter { kinds: kinds.to_vec(), ..Filter::default() };
        assert!(kinds(&[EventKind::FileDeleted, EventKind::FileUploaded]).matches(&event));
        assert!(!kinds(&[EventKind::FileDeleted]).matches(&event));
    }
}
