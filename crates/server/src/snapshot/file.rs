//! The bytes of a snapshot, on their way and on disk.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::Notify;
use windlass_peer::{BulkError, BulkOffer, Resume};
use windlass_records::state::State;

use super::{FOLDER_NAME, place};
use crate::startup::data_folder;

/// Name of a snapshot that is whole.
pub const FILE_NAME: &str = "ready";

/// Name of one that is arriving.
const ARRIVING_NAME: &str = "arriving";

/// Length and checksum before each record.
const HEAD_BYTES: usize = 8;

/// Largest record: a chunk with one value of the largest size that flags allow, with room to spare. A longer one is damage.
const RECORD_BYTES_MAX: usize = 1 << 30;

/// Bytes that are gathered before they are written, off the loop's thread.
const WRITE_BYTES: usize = 1 << 20;

/// One record. Never empty: that would be the end.
#[must_use]
pub fn framed(record: &[u8]) -> Bytes {
    assert!(!record.is_empty(), "an empty record is the end");
    encode(record)
}

/// What follows the last record.
#[must_use]
pub fn end() -> Bytes {
    encode(&[])
}

fn encode(record: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + record.len());
    bytes.put_u32_le(u32::try_from(record.len()).expect("records are far below 4 GiB"));
    bytes.put_u32_le(crc32fast::hash(record));
    bytes.put_slice(record);
    bytes.freeze()
}

/// Why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// On its way.
    #[error(transparent)]
    Bulk(#[from] BulkError),
    /// On this disk.
    #[error("it cannot be kept: {0}")]
    Disk(#[from] io::Error),
    /// The newest is the one to be installed.
    #[error("another one was offered")]
    Superseded,
    /// The thread that writes is gone.
    #[error("it cannot be kept: the process is ending")]
    Ending,
}

/// Takes an offered snapshot into `folder`. Returns its size when it is whole, checked by the transport, and durable.
///
/// # Errors
/// If it does not arrive, cannot be kept or is `superseded`; nothing is left but a file that the next attempt overwrites, and
/// nobody writes to that any more.
pub async fn receive(offer: BulkOffer, folder: PathBuf, superseded: &Notify) -> Result<u64, ReceiveError> {
    let mut file = blocking(move || create(&folder)).await?;
    let mut stream = offer.accept(Resume::default());
    let mut total = 0;
    let mut gathered = Vec::with_capacity(WRITE_BYTES);
    loop {
        let bytes = tokio::select! {
            biased;
            () = superseded.notified() => return Err(ReceiveError::Superseded),
            bytes = stream.next() => bytes?,
        };
        let Some(bytes) = bytes else { break };
        total += bytes.len() as u64;
        gathered.extend_from_slice(&bytes);
        if gathered.len() >= WRITE_BYTES {
            (file, gathered) = blocking(move || file.write(gathered)).await?;
        }
    }
    failpoint!("raftBeforeSaveSnap");
    blocking(move || file.write(gathered)?.0.finish()).await?;
    failpoint!("raftAfterSaveSnap");
    stream.confirm();
    Ok(total)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ReceiveError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| ReceiveError::Ending)??)
}

/// A file that grows.
struct Arriving {
    file: File,
    folder: PathBuf,
}

fn create(folder: &Path) -> io::Result<Arriving> {
    data_folder::make_private(folder).map_err(io::Error::other)?;
    Ok(Arriving { file: File::create(folder.join(ARRIVING_NAME))?, folder: folder.to_owned() })
}

impl Arriving {
    fn write(mut self, mut bytes: Vec<u8>) -> io::Result<(Self, Vec<u8>)> {
        self.file.write_all(&bytes)?;
        bytes.clear();
        Ok((self, bytes))
    }

    fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(self.folder.join(ARRIVING_NAME), self.folder.join(FILE_NAME))?;
        failpoint!("snapDBRenameBeforeDirSync");
        File::open(&self.folder)?.sync_all()
    }
}

/// Writes a snapshot that nobody sends: one that is made of something else.
pub struct Making {
    arriving: Arriving,
    gathered: Vec<u8>,
}

impl Making {
    /// Begins one of `state` in a data folder.
    ///
    /// # Errors
    /// If it cannot be written there.
    pub fn begin(data_folder: &Path, state: &State) -> io::Result<Self> {
        let arriving = create(&data_folder.join(FOLDER_NAME))?;
        Ok(Self { arriving, gathered: framed(&place(state)).to_vec() })
    }

    /// Appends a frame of the shards' WAL format.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn push(&mut self, frame: &[u8]) -> io::Result<()> {
        self.gathered.extend_from_slice(&framed(frame));
        if self.gathered.len() >= WRITE_BYTES {
            self.arriving.file.write_all(&self.gathered)?;
            self.gathered.clear();
        }
        Ok(())
    }

    /// Ends it; it is whole and durable then, and the member's next start installs it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.gathered.extend_from_slice(&end());
        self.arriving.file.write_all(&self.gathered)?;
        self.arriving.finish()
    }
}

/// Reads the records of a snapshot's file.
pub struct Reader {
    file: BufReader<File>,
    path: PathBuf,
    offset: u64,
}

impl Reader {
    /// Begins with the first record.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = BufReader::with_capacity(WRITE_BYTES, File::open(path)?);
        Ok(Self { file, path: path.to_owned(), offset: 0 })
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    /// If it cannot be read or is damaged; the sentence names file and offset.
    pub fn read(&mut self) -> io::Result<Option<Bytes>> {
        let mut head = [0; HEAD_BYTES];
        self.file.read_exact(&mut head).map_err(|_| self.damaged("ends too early"))?;
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let (len, checksum) = (word(0) as usize, word(4));
        if len > RECORD_BYTES_MAX {
            return Err(self.damaged("holds a record of an impossible length"));
        }
        let mut record = vec![0; len];
        self.file.read_exact(&mut record).map_err(|_| self.damaged("ends too early"))?;
        if crc32fast::hash(&record) != checksum {
            return Err(self.damaged("holds a record whose checksum does not match"));
        }
        self.offset += (HEAD_BYTES + len) as u64;
        Ok(Some(record.into()).filter(|record: &Bytes| !record.is_empty()))
    }

    /// What is wrong with the file at the place of the last record that was begun.
    pub fn damaged(&self, what: &str) -> io::Error {
        let path = self.path.display();
        let text = format!(
            "{path} {what} at offset {}: remove that file and start again, the leader will send another",
            self.offset
        );
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(bytes: &[u8]) -> (tempfile::TempDir, Reader) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, bytes).expect("writes");
        let reader = Reader::open(&path).expect("opens");
        (folder, reader)
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<Bytes>> {
        let (_folder, mut reader) = file_of(bytes);
        let mut records = Vec::new();
        while let Some(record) = reader.read()? {
            records.push(record);
        }
        Ok(records)
    }

    #[test]
    fn records_are_read_back() {
        let whole = [framed(b"one"), framed(b"two"), end()].concat();
        assert_eq!(read(&whole).expect("sound"), ["one", "two"]);
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let whole = [framed(b"one"), framed(b"two"), end()].concat();
        for at in 0..whole.len() {
            assert!(read(&whole[..at]).is_err(), "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(read(&changed).is_err(), "changed at {at}");
        }
    }
}
