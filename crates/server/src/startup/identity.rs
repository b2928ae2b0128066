//! Who a member is: etcd's member and cluster ids, computed from what the flags say about a new cluster.
//!
//! The ids are a function of peer URLs and token alone, so that all members compute the same without talking. Clients
//! see them in every response header, and they must come out exactly as etcd's do
//! (`server/etcdserver/api/membership`: `computeMemberID`, `genID`).

use sha1::{Digest, Sha1};
use windlass_types::{ClusterId, MemberId};

/// The id of a member of a new cluster: SHA-1 of its sorted peer URLs and the cluster's token, the first 8 bytes.
pub fn member_id(peer_urls: &[&str], token: &str) -> MemberId {
    let mut sorted = peer_urls.to_vec();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for url in sorted {
        hash.update(url);
    }
    hash.update(token);
    MemberId(leading_u64(hash))
}

/// The id of a member that is added to a cluster at `unix_s`: as [`member_id`], with the time at the end, so that a
/// member that was removed may come back under a new id.
pub fn added_member_id(peer_urls: &[&str], token: &str, unix_s: u64) -> MemberId {
    member_id(peer_urls, &format!("{token}{unix_s}"))
}

/// The id of a new cluster: SHA-1 of its members' ids in ascending order, the first 8 bytes.
pub fn cluster_id(members: &[MemberId]) -> ClusterId {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for member in sorted {
        hash.update(member.0.to_be_bytes());
    }
    ClusterId(leading_u64(hash))
}

fn leading_u64(hash: Sha1) -> u64 {
    let digest = hash.finalize();
    u64::from_be_bytes(digest[..8].try_into().expect("a SHA-1 has 20 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures that etcd 3.5.1 logged (`local-member-id`, `added-peer-id`, `cluster-id`) when it was started so.
    #[test]
    fn ids_are_the_ones_that_etcd_computes() {
        let lone = member_id(&["http://localhost:2380"], "etcd-cluster");
        assert_eq!(lone, MemberId(0x8e9e_05c5_2164_694d));
        assert_eq!(cluster_id(&[lone]), ClusterId(0xcdf8_1819_4e3a_8c32));

        // etcd --name a --initial-cluster-token tok-1 --initial-cluster
        //   a=http://127.0.0.1:12380,a=http://10.0.0.7:2380,b=http://10.0.0.8:2380,c=http://10.0.0.9:2380
        let a = member_id(&["http://127.0.0.1:12380", "http://10.0.0.7:2380"], "tok-1");
        let b = member_id(&["http://10.0.0.8:2380"], "tok-1");
        let c = member_id(&["http://10.0.0.9:2380"], "tok-1");
        assert_eq!(a, MemberId(0x7a56_60a0_f03d_4f37));
        assert_eq!((b.min(c), b.max(c)), (MemberId(0x30dc_de4b_ddb4_d104), MemberId(0x96fc_5488_1307_214f)));
        assert_eq!(cluster_id(&[a, b, c]), ClusterId(0xca4b_7e93_570b_f199));
        assert_eq!(cluster_id(&[c, b, a]), ClusterId(0xca4b_7e93_570b_f199));
    }
}
