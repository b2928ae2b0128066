//! Changes of inputs. Pure.

use windlass_replica::oracle::generate::Random;

/// Changes of one input at most.
const CHANGES_MAX: u64 = 6;

/// No input grows beyond this, in bytes.
const BYTES_MAX: usize = 256 << 10;

/// Numbers that decoders stumble over.
const NUMBERS: [u64; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// Words that texts are made of: JSON, YAML, flags.
const WORDS: [&str; 16] =
    ["{", "}", "[", "]", "\"", ": ", ",", "\n", "null", "-1", "1e999", "\\u0000", "--", "=", "true", "&a *a"];

/// One of the pool, changed a few times.
pub fn mutated(pool: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let pick = |random: &mut Random| {
        if pool.is_empty() { &[][..] } else { &pool[random.below(pool.len() as u64) as usize][..] }
    };
    let mut input = pick(random).to_vec();
    for _ in 0..=random.below(CHANGES_MAX) {
        match random.below(8) {
            0 => with_byte(&mut input, random, |byte, random| byte ^ (1 << random.below(8))),
            1 => with_byte(&mut input, random, |_, random| random.number() as u8),
            2 => put_number(&mut input, random),
            3 => input.truncate(place(&input, random)),
            4 => {
                let (from, to) = span(&input, random);
                input.drain(from..to);
            }
            5 => {
                let (from, to) = span(&input, random);
                let part = input[from..to].to_vec();
                insert(&mut input, &part, random);
            }
            6 => {
                let word = WORDS[random.below(WORDS.len() as u64) as usize];
                insert(&mut input, word.as_bytes(), random);
            }
            _ => {
                let other = pick(random);
                let (from, to) = span(other, random);
                let part = other[from..to].to_vec();
                insert(&mut input, &part, random);
            }
        }
    }
    input.truncate(BYTES_MAX);
    input
}

fn place(input: &[u8], random: &mut Random) -> usize {
    random.below(input.len() as u64 + 1) as usize
}

fn span(input: &[u8], random: &mut Random) -> (usize, usize) {
    let (a, b) = (place(input, random), place(input, random));
    (a.min(b), a.max(b))
}

fn insert(input: &mut Vec<u8>, part: &[u8], random: &mut Random) {
    let at = place(input, random);
    input.splice(at..at, part.iter().copied());
}

fn with_byte(input: &mut [u8], random: &mut Random, change: impl FnOnce(u8, &mut Random) -> u8) {
    if !input.is_empty() {
        let at = random.below(input.len() as u64) as usize;
        input[at] = change(input[at], random);
    }
}

/// Writes a number of some width over what is there.
fn put_number(input: &mut [u8], random: &mut Random) {
    let number = NUMBERS[random.below(NUMBERS.len() as u64) as usize];
    let width = 1 << random.below(4);
    let bytes = if random.one_in(2) { number.to_le_bytes() } else { number.to_be_bytes() };
    let at = place(input, random);
    let end = input.len().min(at + width);
    input[at..end].copy_from_slice(&bytes[..end - at]);
}
