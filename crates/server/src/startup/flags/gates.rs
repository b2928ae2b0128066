//! etcd's feature gates, `--feature-gates`: which there are, and what they mean here. Pure.

use super::value::parse_bool;

/// A feature gate of etcd 3.6 or 3.7.
#[derive(Debug)]
pub struct Gate {
    /// Its name.
    pub name: &'static str,
    /// etcd's default.
    pub default: bool,
    /// Why it changes nothing here.
    pub reason: &'static str,
}

const fn gate(name: &'static str, default: bool, reason: &'static str) -> Gate {
    Gate { name, default, reason }
}

/// All of them. Windlass has none of its own: what it does it does always.
pub const GATES: &[Gate] = &[
    gate("StopGRPCServiceOnDefrag", false, "defragmentation never stops the service"),
    gate(
        "InitialCorruptCheck",
        false,
        "members compare what they wrote and hold every ten seconds, from their start on",
    ),
    gate(
        "CompactHashCheck",
        false,
        "members compare what they wrote and hold every ten seconds, compacted or not",
    ),
    gate(
        "TxnModeWriteWithSharedBuffer",
        true,
        "transactions read what they write without a buffer of their own",
    ),
    gate("LeaseCheckpoint", false, "what is left of leases is always written to the log"),
    gate("LeaseCheckpointPersist", false, "what is left of leases is always written to the log"),
    gate("SetMemberLocalAddr", false, "the system chooses the address that members are dialled from"),
    gate("FastLeaseKeepAlive", true, "a renewal never waits for what is not applied"),
    gate("PriorityRequest", false, "no request waits behind others for long"),
    gate("AllAlpha", false, "there are no features to switch"),
    gate("AllBeta", false, "there are no features to switch"),
];

/// Reads `A=true,B=false`; the error is etcd's text (`pkg/featuregate`).
pub fn parse_gates(text: &str) -> Result<Vec<(&'static Gate, bool)>, String> {
    let mut set = Vec::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value.trim())));
        let name = name.trim();
        let value = value.ok_or_else(|| format!("missing bool value for {name}"))?;
        let is_on = parse_bool(value).map_err(|_| {
            format!(
                "invalid value of {name}={value}, err: strconv.ParseBool: parsing \"{value}\": invalid syntax"
            )
        })?;
        let gate = GATES.iter().find(|gate| gate.name == name);
        set.push((gate.ok_or_else(|| format!("unrecognized feature gate: {name}"))?, is_on));
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_read_as_etcd_reads_them() {
        let set = parse_gates("LeaseCheckpoint=true, CompactHashCheck=false,").unwrap();
        let names: Vec<_> = set.iter().map(|(gate, is_on)| (gate.name, *is_on)).collect();
        assert_eq!(names, [("LeaseCheckpoint", true), ("CompactHashCheck", false)]);
        assert!(parse_gates("").unwrap().is_empty());
        for (text, fault) in [
            ("Foo=true", "unrecognized feature gate: Foo"),
            ("LeaseCheckpoint", "missing bool value for LeaseCheckpoint"),
            (
                "LeaseCheckpoint=x",
                "invalid value of LeaseCheckpoint=x, err: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
        ] {
            assert_eq!(parse_gates(text).unwrap_err(), fault);
        }
    }
}
