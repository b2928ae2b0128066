//! What a fail point does, in gofail's language: terms joined by `->`, of which the first that is allowed acts. A term is an
//! action behind any number of `5*` (so often) and `12.5%` (with this probability). Pure.
//!
//! `kill` is Windlass's own: the process ends as by kill -9. gofail's `break`, a debugger, is not taken.

use std::time::Duration;

/// What a pass comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Off,
    /// What follows the place is left out.
    Return,
    /// The thread stands still.
    Sleep(Duration),
    /// A line in the log.
    Print,
    /// A panic.
    Panic,
    /// The end of the process.
    Kill,
}

/// What a term is subject to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Condition {
    /// So often still.
    Count(u64),
    /// With this probability, of one.
    Chance(f64),
}

#[derive(Clone, Debug, PartialEq)]
struct Term {
    conditions: Vec<Condition>,
    action: Action,
}

/// The terms of a fail point.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    text: String,
    terms: Vec<Term>,
    count: u64,
}

impl Terms {
    /// Reads them.
    pub fn parse(text: &str) -> Result<Self, &str> {
        let terms = text.split("->").map(|term| parse_term(term).ok_or(term));
        Ok(Self { text: text.to_owned(), terms: terms.collect::<Result<_, _>>()?, count: 0 })
    }

    /// As they were written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How often one of them acted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What this pass does; `random` gives any number.
    pub fn next(&mut self, random: &mut impl FnMut() -> u64) -> Option<Action> {
        let term = self.terms.iter_mut().find_map(|term| term.allows(random).then_some(term.action))?;
        self.count += 1;
        Some(term)
    }
}

impl Term {
    fn allows(&mut self, random: &mut impl FnMut() -> u64) -> bool {
        self.conditions.iter_mut().all(|condition| match condition {
            Condition::Count(0) => false,
            Condition::Count(left) => {
                *left -= 1;
                true
            }
            Condition::Chance(chance) => (random() as f64) / (u64::MAX as f64) <= *chance,
        })
    }
}

fn parse_term(mut text: &str) -> Option<Term> {
    let mut conditions = Vec::new();
    while let Some(end) = text.find(['*', '%']).filter(|_| text.starts_with(|c: char| c.is_ascii_digit())) {
        let (number, rest) = text.split_at(end);
        let condition = match rest.as_bytes()[0] {
            b'*' => Condition::Count(number.parse().ok()?),
            _ => Condition::Chance(number.parse::<f64>().ok()? / 100.0),
        };
        conditions.push(condition);
        text = &rest[1..];
    }
    let (action, value) = match text.split_once('(') {
        Some((action, value)) => (action, value.strip_suffix(')')?),
        None => (text, ""),
    };
    let action = match action {
        "off" => Action::Off,
        "return" => Action::Return,
        "sleep" => Action::Sleep(parse_sleep(value)?),
        "print" => Action::Print,
        "panic" => Action::Panic,
        "kill" => Action::Kill,
        _ => return None,
    };
    Some(Term { conditions, action })
}

/// A number of milliseconds, or Go's text for a duration in quotes.
fn parse_sleep(value: &str) -> Option<Duration> {
    if let Ok(ms) = value.parse() {
        return Some(Duration::from_millis(ms));
    }
    let mut text = value.strip_prefix('"')?.strip_suffix('"')?;
    let mut total = Duration::ZERO;
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at(end);
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        text = rest;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(text: &str, passes: usize) -> Vec<Option<Action>> {
        let mut terms = Terms::parse(text).expect("terms");
        let mut numbers = [u64::MAX / 2, u64::MAX, 0].into_iter().cycle();
        (0..passes).map(|_| terms.next(&mut || numbers.next().expect("endless"))).collect()
    }

    #[test]
    fn terms_are_gofails() {
        let sleep = |ms| Some(Action::Sleep(Duration::from_millis(ms)));
        assert_eq!(outcomes("panic", 2), [Some(Action::Panic); 2]);
        assert_eq!(outcomes(r#"panic("why")"#, 1), [Some(Action::Panic)]);
        assert_eq!(outcomes("return()", 1), [Some(Action::Return)]);
        assert_eq!(outcomes("sleep(100)", 1), [sleep(100)]);
        assert_eq!(outcomes(r#"sleep("1m1.5s")"#, 1), [sleep(61_500)]);
        assert_eq!(
            outcomes("1*sleep(7)->2*print->kill", 4),
            [sleep(7), Some(Action::Print), Some(Action::Print), Some(Action::Kill)]
        );
        assert_eq!(outcomes("60.0%panic", 3), [Some(Action::Panic), None, Some(Action::Panic)]);
        assert_eq!(outcomes("1*return", 2), [Some(Action::Return), None]);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "sleep", "sleep(x)", "5*", "5return", "panic(", "break", "off->", "x%off", "sleep(\"5\")"]
        {
            assert!(Terms::parse(text).is_err(), "{text}");
        }
    }
}
