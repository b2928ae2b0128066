//! What recovery does with each place where a frame should begin: a table, kept as data.
//!
//! `docs/formats/log.md` prints this table and argues each row; a test compares the two, another runs every
//! combination. Nothing else in recovery may decide between keeping, cutting and refusing.

/// What lies where the next frame should begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No header of this segment and epoch.
    NoHeader,
    /// A header in order whose body's checksum fails.
    TornBody,
    /// A whole frame in order.
    Whole,
    /// A header out of order, whatever its body.
    OutOfOrder,
}

/// The best whole frame of this segment and epoch behind that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    /// There is none.
    Nothing,
    /// There is one, but none of them was submitted after the frame at this place was known to be durable.
    Unproven,
    /// One says that the frame at this place was durable when it was submitted.
    Proven,
}

/// Whether a newer segment exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The newest segment.
    Last,
    /// A newer one was started, which happens only when everything before it is durable.
    Earlier,
}

/// What recovery does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Take the frame and look behind it.
    Keep,
    /// The log ends here; what is behind was never acknowledged.
    Cut,
    /// Stop: something acknowledged is damaged. The peers have it; a lone member can only refuse to start.
    Repair,
    /// Stop: no crash and no bit rot explains this.
    Refuse,
}

/// One row: `None` matches anything.
pub struct Row {
    found: Found,
    later: Option<Later>,
    place: Option<Place>,
    decision: Decision,
    why: &'static str,
}

/// The first matching row decides.
pub const TABLE: &[Row] = &[
    Row {
        found: Found::Whole,
        later: None,
        place: None,
        decision: Decision::Keep,
        why: "it is what was written; keeping one that was never acknowledged invents nothing, it was proposed",
    },
    Row {
        found: Found::OutOfOrder,
        later: None,
        place: None,
        decision: Decision::Refuse,
        why: "within one epoch each place of a segment is written once: a bug or a patched file",
    },
    Row {
        found: Found::NoHeader,
        later: None,
        place: Some(Place::Earlier),
        decision: Decision::Repair,
        why: "the newer segment was started only when this frame was durable",
    },
    Row {
        found: Found::TornBody,
        later: None,
        place: Some(Place::Earlier),
        decision: Decision::Repair,
        why: "the newer segment was started only when this frame was durable",
    },
    Row {
        found: Found::NoHeader,
        later: Some(Later::Proven),
        place: Some(Place::Last),
        decision: Decision::Repair,
        why: "a later frame says that this one was durable",
    },
    Row {
        found: Found::TornBody,
        later: Some(Later::Proven),
        place: Some(Place::Last),
        decision: Decision::Repair,
        why: "a later frame says that this one was durable",
    },
    Row {
        found: Found::NoHeader,
        later: Some(Later::Unproven),
        place: Some(Place::Last),
        decision: Decision::Cut,
        why: "in flight together at the crash; the later one is acknowledged only after this one",
    },
    Row {
        found: Found::TornBody,
        later: Some(Later::Unproven),
        place: Some(Place::Last),
        decision: Decision::Cut,
        why: "in flight together at the crash; the later one is acknowledged only after this one",
    },
    Row {
        found: Found::NoHeader,
        later: Some(Later::Nothing),
        place: Some(Place::Last),
        decision: Decision::Cut,
        why: "the end of the log, or the write that the crash interrupted",
    },
    Row {
        found: Found::TornBody,
        later: Some(Later::Nothing),
        place: Some(Place::Last),
        decision: Decision::Cut,
        why: "the write that the crash interrupted",
    },
];

/// What to do. Total: every combination has a row.
#[must_use]
pub fn decide(found: Found, later: Later, place: Place) -> Decision {
    TABLE.iter().find(|row| row.matches(found, later, place)).expect("the table is total").decision
}

/// The table as Markdown, as it stands in `docs/formats/log.md`.
#[must_use]
pub fn markdown() -> String {
    let mut out =
        String::from("| header | body | in order | whole frame later | segment | decision | why |\n");
    out.push_str("|---|---|---|---|---|---|---|\n");
    for row in TABLE {
        let (header, body, order) = match row.found {
            Found::NoHeader => ("no", "-", "-"),
            Found::TornBody => ("yes", "no", "yes"),
            Found::Whole => ("yes", "yes", "yes"),
            Found::OutOfOrder => ("yes", "any", "no"),
        };
        let later = match row.later {
            None => "any",
            Some(Later::Nothing) => "none",
            Some(Later::Unproven) => "yes, submitted together",
            Some(Later::Proven) => "yes, submitted after it was durable",
        };
        let place = match row.place {
            None => "any",
            Some(Place::Last) => "last",
            Some(Place::Earlier) => "not last",
        };
        let decision = match row.decision {
            Decision::Keep => "keep",
            Decision::Cut => "cut the tail",
            Decision::Repair => "repair from peers; alone: refuse",
            Decision::Refuse => "refuse",
        };
        let why = row.why;
        out.push_str(&format!("| {header} | {body} | {order} | {later} | {place} | {decision} | {why} |\n"));
    }
    out
}

impl Row {
    fn matches(&self, found: Found, later: Later, place: Place) -> bool {
        self.found == found && self.later.is_none_or(|l| l == later) && self.place.is_none_or(|p| p == place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: [Found; 4] = [Found::NoHeader, Found::TornBody, Found::Whole, Found::OutOfOrder];
    const LATER: [Later; 3] = [Later::Nothing, Later::Unproven, Later::Proven];
    const PLACE: [Place; 2] = [Place::Last, Place::Earlier];

    #[test]
    fn every_combination_has_exactly_one_row_and_every_row_is_used() {
        let mut used = vec![0; TABLE.len()];
        for (found, later, place) in combinations() {
            let rows: Vec<_> = (0..TABLE.len()).filter(|&i| TABLE[i].matches(found, later, place)).collect();
            assert_eq!(rows.len(), 1, "{found:?} {later:?} {place:?}");
            used[rows[0]] += 1;
        }
        assert!(used.iter().all(|&n| n > 0), "{used:?}");
    }

    #[test]
    fn nothing_proven_is_ever_cut() {
        for (found, later, place) in combinations() {
            if later == Later::Proven || place == Place::Earlier {
                assert_ne!(decide(found, later, place), Decision::Cut);
            }
        }
    }

    #[test]
    fn the_document_prints_this_table() {
        let document = include_str!("../../../docs/formats/log.md");
        assert!(document.contains(&markdown()), "put this into docs/formats/log.md:\n{}", markdown());
    }

    fn combinations() -> impl Iterator<Item = (Found, Later, Place)> {
        FOUND
            .into_iter()
            .flat_map(|f| LATER.into_iter().flat_map(move |l| PLACE.into_iter().map(move |p| (f, l, p))))
    }
}
