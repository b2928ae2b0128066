//! What was said about connections that were turned away: each source and fault once, or whoever sends garbage would fill the
//! log.

use std::collections::VecDeque;
use std::mem::discriminant;

use crate::handshake::Broken;

/// Most sources of bad connections that are remembered. At the bound the oldest is forgotten, and said again if it comes back.
const KNOWN_MAX: usize = 64;

/// The sources that were said, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct TurnedAway {
    known: VecDeque<String>,
}

impl TurnedAway {
    /// Whether it was not said yet that this host came and was turned away for such a reason. Remembers it.
    pub fn is_news(&mut self, address: &str, reason: &Broken) -> bool {
        // Ports differ from one connection to the next.
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let source = match reason {
            // So do the bytes of garbage, and what exactly is wrong with them.
            Broken::Fault(fault) => format!("{host} {:?}", discriminant(fault)),
            _ => format!("{host} {reason}"),
        };
        if self.known.contains(&source) {
            return false;
        }
        if self.known.len() == KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(source);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Fault;

    #[test]
    fn the_same_source_of_garbage_is_news_once() {
        let mut turned_away = TurnedAway::default();
        let kind = |kind| Broken::Fault(Fault::UnknownKind(kind));
        assert!(turned_away.is_news("10.0.0.1:5000", &kind(77)));
        assert!(!turned_away.is_news("10.0.0.1:5001", &kind(78)), "another port and other garbage");
        assert!(turned_away.is_news("10.0.0.1:5001", &Broken::Fault(Fault::Magic)), "another fault");
        assert!(turned_away.is_news("10.0.0.2:5000", &kind(77)), "another host");
        for host in 0..KNOWN_MAX {
            assert!(turned_away.is_news(&format!("10.0.1.{host}:1"), &kind(77)));
        }
        assert_eq!(turned_away.known.len(), KNOWN_MAX);
        assert!(turned_away.is_news("10.0.0.1:5000", &kind(77)), "it was forgotten");
    }
}
