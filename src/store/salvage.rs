//! What can still be read of a journal that is damaged. For reading only: nothing here says that
//! a record was committed, or that none is missing.

use std::path::Path;

use bytes::Bytes;

use super::{
    disk::DiskFile,
    error::StoreError,
    record::{BLOCK_LEN, Record, claimed_len, digest, padded, segment_name},
    replay::segments_in,
};

/// Gives every whole record of the journal in `dir` to `visit`, wherever in a segment it stands
/// and whatever is damaged around it. Whether it belongs to the log, the tree must tell.
///
/// # Errors
/// [`StoreError::Io`] if the directory cannot be listed. A segment that cannot be read is skipped.
pub fn salvage(dir: &Path, mut visit: impl FnMut(Record)) -> Result<(), StoreError> {
    for first in segments_in(dir)? {
        let path = dir.join(segment_name(first));
        if let Err(cause) = salvage_segment(&path, &mut visit) {
            tracing::warn!(path = %path.display(), %cause, "a segment cannot be read to its end");
        }
    }
    Ok(())
}

fn salvage_segment(path: &Path, visit: &mut impl FnMut(Record)) -> Result<(), StoreError> {
    let Some(file) = DiskFile::open(path)? else { return Ok(()) };
    let end = file.len()?;
    let mut block = vec![0; BLOCK_LEN as usize];
    let mut at = BLOCK_LEN;
    while at + BLOCK_LEN <= end {
        file.read_at(&mut block, at)?;
        let len = claimed_len(&block).filter(|len| padded(*len) <= end - at);
        let record = match len {
            Some(len) => {
                let mut bytes = vec![0; len as usize];
                file.read_at(&mut bytes, at)?;
                digest(&bytes).and_then(|_| Record::parse_alone(&Bytes::from(bytes)))
            }
            None => None,
        };
        // After what is no record the next one may begin at any block.
        at += if record.is_some() { padded(len.unwrap_or(BLOCK_LEN)) } else { BLOCK_LEN };
        record.into_iter().for_each(&mut *visit);
    }
    Ok(())
}
