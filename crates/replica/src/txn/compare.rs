//! Compares: how one key stands to a target. Source: etcd `applyCompare`, `compareKV`.

use std::cmp::Ordering;

use windlass_api::etcdserverpb::Compare;
use windlass_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};

/// What a compare may look at. The default stands for a key that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Revision of creation; `i64::MAX` while it is only known to be above every number compared with.
    pub create_revision: i64,
    /// Revision of the last put; `i64::MAX` in the same way.
    pub mod_revision: i64,
    /// Number of puts since creation.
    pub version: i64,
    /// The attached lease.
    pub lease: i64,
    /// The value.
    pub value: &'a [u8],
}

/// Whether `compare` holds for a key.
#[must_use]
pub fn compare_holds(compare: &Compare, facts: &Facts<'_>) -> bool {
    use TargetUnion as Union;
    // A target of another kind than the one named counts as zero; of an unknown kind, as equal.
    let union = compare.target_union.as_ref();
    let order = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => {
            let target = if let Some(Union::Value(value)) = union { &value[..] } else { &[] };
            facts.value.cmp(target)
        }
        Ok(CompareTarget::Create) => {
            facts.create_revision.cmp(&if let Some(Union::CreateRevision(r)) = union { *r } else { 0 })
        }
        Ok(CompareTarget::Mod) => {
            facts.mod_revision.cmp(&if let Some(Union::ModRevision(r)) = union { *r } else { 0 })
        }
        Ok(CompareTarget::Version) => {
            facts.version.cmp(&if let Some(Union::Version(v)) = union { *v } else { 0 })
        }
        Ok(CompareTarget::Lease) => facts.lease.cmp(&if let Some(Union::Lease(l)) = union { *l } else { 0 }),
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        Err(_) => true,
    }
}

/// Whether `compare` holds where no key that it covers exists.
pub(super) fn holds_without_keys(compare: &Compare) -> bool {
    // A missing value cannot be told from an empty one on the wire, so etcd lets every compare of it fail.
    compare.target != CompareTarget::Value as i32 && compare_holds(compare, &Facts::default())
}
