//! What is written is read back, and what is damaged is refused.

use proptest::prelude::*;
use windlass_bbolt::{Error, Head, PAGE_BYTES, Reader, Writer};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn written(buckets: &[(&[u8], Pairs)]) -> Vec<u8> {
    let (mut writer, mut body) = (Writer::new(), Vec::new());
    for (name, pairs) in buckets {
        writer.begin_bucket(name);
        pairs.iter().for_each(|(key, value)| writer.put(key, value, &mut body));
        writer.end_bucket(&mut body);
    }
    let head = writer.finish(&mut body);
    assert_eq!(head.bytes().len(), Head::BYTES);
    [head.bytes(), &body].concat()
}

fn read(file: &[u8]) -> Result<Vec<(Vec<u8>, Pairs)>, Error> {
    let reader = Reader::open(file)?;
    let mut buckets = Vec::new();
    for name in reader.buckets()? {
        let mut pairs = Vec::new();
        // A name that was read a moment ago is there.
        let mut cursor = reader.bucket(&name)?.expect("the bucket");
        while let Some(pair) = cursor.next_pair()? {
            pairs.push(pair);
        }
        buckets.push((name, pairs));
    }
    Ok(buckets)
}

fn numbered(count: u64, value_len: usize) -> Pairs {
    (0..count).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; value_len])).collect()
}

#[test]
fn buckets_of_every_size_are_read_back() {
    for count in [0, 1, 2, 3, 50, 101, 102, 5000, 60_000] {
        for value_len in [0, 40, 5000] {
            if count * value_len as u64 > 64 << 20 {
                continue;
            }
            let buckets = [(&b"a"[..], Vec::new()), (&b"key"[..], numbered(count, value_len))];
            let file = written(&buckets);
            assert_eq!(file.len() % PAGE_BYTES, 0);
            let wanted: Vec<_> = buckets.iter().map(|(n, p)| (n.to_vec(), p.clone())).collect();
            assert!(read(&file).expect("sound") == wanted, "{count} of {value_len}");
        }
    }
}

/// Values of any size leave little of their pages empty: bbolt itself, which puts two of 10,000 bytes side by side, needs
/// no less.
#[test]
fn pages_are_filled() {
    for value_len in [100, 300, 700, 1000, 1400, 2000, 2100, 3000, 4000, 5000, 10_000, 100_000] {
        let count = 20_000_000 / value_len as u64;
        let file = written(&[(b"key", numbered(count, value_len))]);
        let payload = count as usize * (16 + 8 + value_len);
        let spent = file.len() as f64 / payload as f64;
        assert!(spent < 1.085, "values of {value_len} bytes take {spent:.3} of their size");
        assert_eq!(read(&file).expect("sound")[0].1.len(), count as usize);
    }
}

#[test]
fn a_file_without_buckets_is_one() {
    assert_eq!(read(&written(&[])).expect("sound"), []);
}

#[test]
#[should_panic(expected = "ascending")]
fn keys_out_of_order_are_a_bug() {
    written(&[(b"key", vec![(b"b".to_vec(), Vec::new()), (b"a".to_vec(), Vec::new())])]);
}

fn small() -> Vec<u8> {
    written(&[(b"key", numbered(700, 30)), (b"lease", numbered(3, 5)), (b"meta", Vec::new())])
}

#[test]
fn every_cut_is_noticed() {
    let file = small();
    for len in (0..file.len()).step_by(509) {
        assert!(read(&file[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn one_meta_page_is_enough() {
    for at in [0, PAGE_BYTES] {
        let mut file = small();
        file[at..at + 100].fill(0xff);
        assert_eq!(read(&file).expect("the other is sound"), read(&small()).expect("sound"));
    }
    let mut file = small();
    file[..2 * PAGE_BYTES].fill(0);
    assert!(matches!(read(&file), Err(Error::NoMeta)));
}

/// Every child of every branch page becomes each page in turn: it ends, whatever it leads to.
#[test]
fn circles_are_noticed() {
    let file = small();
    for at in 0..file.len() / PAGE_BYTES {
        let page = at * PAGE_BYTES;
        if file[page + 8] != 1 || at < 3 {
            continue;
        }
        let count = usize::from(file[page + 10]);
        for child in 0..count {
            for target in 0..file.len() / PAGE_BYTES {
                let mut changed = file.clone();
                let entry = page + 16 + child * 16 + 8;
                changed[entry..entry + 8].copy_from_slice(&(target as u64).to_le_bytes());
                // Another leaf may pass for the right one; a page that leads to itself may not.
                let refused = read(&changed).is_err();
                assert!(refused || target != at, "page {at} child {child} leads to itself");
            }
        }
    }
}

proptest! {
    #[test]
    fn random_changes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
                                  cut: Option<prop::sample::Index>) {
        let mut file = small();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let _ = read(&file);
    }

    #[test]
    fn changed_heads_and_entries_never_panic(page: prop::sample::Index, at in 0..64_usize, byte: u8) {
        let mut file = small();
        let page = page.index(file.len() / PAGE_BYTES);
        file[page * PAGE_BYTES + at] = byte;
        let _ = read(&file);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..20_000)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn any_sorted_input_is_read_back(pairs in prop::collection::btree_map(
        prop::collection::vec(any::<u8>(), 0..300), prop::collection::vec(any::<u8>(), 0..900), 0..200)) {
        let pairs: Pairs = pairs.into_iter().collect();
        let file = written(&[(b"key", pairs.clone())]);
        prop_assert_eq!(read(&file).expect("sound"), vec![(b"key".to_vec(), pairs)]);
    }
}
