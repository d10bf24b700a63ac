//! Memory of large answers: counted before they are read, until their clients have taken them.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The answers that are on their way leave no room for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much at once: try again")]
pub struct Overloaded;

/// The memory that all large answers together may take: one permit a byte.
#[derive(Clone, Debug)]
pub struct Answers(Arc<Semaphore>);

/// The share of one answer, given back when this is dropped.
#[derive(Debug)]
pub struct Share(OwnedSemaphorePermit);

/// Bytes of an answer with their share. hyper holds the bytes while the client takes them, also
/// after the body is gone, so it is the bytes that own the share.
struct Held {
    bytes: Vec<u8>,
    _share: Share,
}

impl Answers {
    /// At most `bytes` at a time.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// The share of an answer of at most `len` bytes. A reader that is told to come back holds
    /// nothing, so nobody waits here behind slow ones.
    ///
    /// # Errors
    /// [`Overloaded`] if the answers that are on their way leave no room for it.
    pub fn share(&self, len: u64) -> Result<Share, Overloaded> {
        let len = u32::try_from(len).map_err(|_| Overloaded)?;
        let permit = Arc::clone(&self.0).try_acquire_many_owned(len);
        permit.map(Share).map_err(|_| Overloaded)
    }
}

impl Share {
    /// The bytes of the answer, which now own the share.
    pub fn hold(mut self, bytes: Vec<u8>) -> Bytes {
        // Some of what was estimated may not be needed.
        let unused = self.0.num_permits().saturating_sub(bytes.len());
        drop(self.0.split(unused));
        Bytes::from_owner(Held { bytes, _share: self })
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_lives_as_long_as_the_last_of_its_bytes() {
        let answers = Answers::new(10);
        assert_eq!(answers.share(11).unwrap_err(), Overloaded);
        assert_eq!(answers.share(u64::MAX).unwrap_err(), Overloaded);
        let estimate = answers.share(10).unwrap();
        assert_eq!(answers.share(1).unwrap_err(), Overloaded);
        let held = estimate.hold(vec![7; 6]);
        drop(answers.share(4).unwrap());
        let part = held.slice(5..);
        drop(held);
        assert_eq!(answers.share(5).unwrap_err(), Overloaded, "a part is still on its way");
        drop(part);
        answers.share(10).unwrap();
    }
}
