//! The header that every response carries.

use std::sync::Arc;

use windlass_api::etcdserverpb::ResponseHeader;
use windlass_types::Revision;

use crate::published::Published;

/// Makes response headers.
#[derive(Clone)]
pub struct Headers {
    published: Arc<Published>,
}

impl Headers {
    /// Headers of this member.
    #[must_use]
    pub fn new(published: Arc<Published>) -> Self {
        Self { published }
    }

    /// A header with the given revision and everything else as of now.
    #[must_use]
    pub fn at(&self, revision: Revision) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.published.cluster.0,
            member_id: self.published.member.0,
            revision: revision.0,
            raft_term: self.published.term().0,
        }
    }

    /// A header with the newest revision.
    #[must_use]
    pub fn now(&self) -> ResponseHeader {
        self.at(self.published.revision())
    }

    /// A header as the Cluster service has it: without a revision.
    #[must_use]
    pub fn without_revision(&self) -> ResponseHeader {
        self.at(Revision::ZERO)
    }

    /// Completes a header of which only the revision is set.
    pub fn complete(&self, header: &mut Option<ResponseHeader>) {
        let revision = header.as_ref().map_or_else(|| self.published.revision().0, |h| h.revision);
        *header = Some(self.at(Revision(revision)));
    }
}
