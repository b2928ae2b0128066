//! Simple tokens: random names for users, assigned by the log and kept in memory, each for a time after its last use.

use std::collections::HashMap;
use std::sync::Arc;

/// Most tokens of one member. At the bound the token that was used longest ago goes, as if its time were over; its client
/// gets a new one.
pub const TOKENS_MAX: usize = 1 << 20;

/// Tokens and whose they are.
#[derive(Debug)]
pub struct SimpleTokens {
    ttl_ns: u64,
    tokens: HashMap<Box<str>, Token>,
}

#[derive(Debug)]
struct Token {
    user: Arc<str>,
    /// When it was used last, on the caller's monotonic clock.
    used_ns: u64,
}

impl SimpleTokens {
    /// No tokens; each will be good for so long after its last use.
    #[must_use]
    pub fn new(ttl_ns: u64) -> Self {
        Self { ttl_ns, tokens: HashMap::new() }
    }

    /// The log gave a user a token.
    pub fn assign(&mut self, token: &str, user: &str, now_ns: u64) {
        if self.tokens.len() >= TOKENS_MAX {
            self.sweep(now_ns);
        }
        if self.tokens.len() >= TOKENS_MAX {
            let oldest = self.tokens.iter().min_by_key(|(_, token)| token.used_ns);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.tokens.remove(&oldest);
            }
        }
        self.tokens.insert(token.into(), Token { user: user.into(), used_ns: now_ns });
    }

    /// Whose token it is, if its time is not over. It begins anew.
    pub fn use_token(&mut self, token: &str, now_ns: u64) -> Option<Arc<str>> {
        let ttl_ns = self.ttl_ns;
        let known = self.tokens.get_mut(token)?;
        if now_ns.saturating_sub(known.used_ns) > ttl_ns {
            self.tokens.remove(token);
            return None;
        }
        known.used_ns = now_ns;
        Some(Arc::clone(&known.user))
    }

    /// Forgets a user's tokens.
    pub fn forget(&mut self, user: &str) {
        self.tokens.retain(|_, token| &*token.user != user);
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.tokens.clear();
    }

    /// Forgets those whose time is over.
    pub fn sweep(&mut self, now_ns: u64) {
        self.tokens.retain(|_, token| now_ns.saturating_sub(token.used_ns) <= self.ttl_ns);
    }

    /// Number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// The log index at which a token was assigned, from its name: a member that is not there yet does not know it yet.
#[must_use]
pub fn index_of(token: &str) -> Option<u64> {
    let (prefix, index) = token.split_once('.')?;
    if prefix.is_empty() { None } else { index.parse().ok() }
}
