//! How figures are printed: etcdutl's formats.

use serde_json::Value;

use crate::exit::{BAD_FEATURE, Failure};

/// One of the formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Values, one after another.
    Simple,
    /// One JSON object.
    Json,
    /// A drawn table.
    Table,
    /// One value a line, with its name.
    Fields,
}

impl Format {
    /// The format of a name.
    ///
    /// # Errors
    /// If there is none.
    pub fn parse(name: &str) -> Result<Self, Failure> {
        match name {
            "simple" => Ok(Self::Simple),
            "json" => Ok(Self::Json),
            "table" => Ok(Self::Table),
            "fields" => Ok(Self::Fields),
            // etcdutl's `protobuf` says so too, of what has no message.
            _ => Err(Failure::new(BAD_FEATURE, "unsupported output format")),
        }
    }
}

/// One figure.
pub struct Column {
    /// Of the table.
    pub name: &'static str,
    /// In `fields`.
    pub field: &'static str,
    /// In `json`.
    pub key: &'static str,
    /// The value.
    pub value: Value,
    /// As people read it, where that differs.
    pub text: Option<String>,
}

impl Column {
    fn text(&self) -> String {
        self.text.clone().unwrap_or_else(|| self.value.to_string())
    }
}

/// What a command found.
pub struct Figures(
    /// In order.
    pub Vec<Column>,
);

impl Figures {
    /// All of them as text.
    ///
    /// # Errors
    /// None so far; a format may have no way to say something.
    pub fn print(&self, format: Format) -> Result<String, Failure> {
        let texts: Vec<String> = self.0.iter().map(Column::text).collect();
        Ok(match format {
            Format::Simple => format!("{}\n", texts.join(", ")),
            Format::Json => {
                let pairs = self.0.iter().map(|column| format!("{:?}:{}", column.key, column.value));
                format!("{{{}}}\n", pairs.collect::<Vec<_>>().join(","))
            }
            Format::Fields => {
                self.0.iter().map(|column| format!("\"{}\" : {}\n", column.field, column.value)).collect()
            }
            Format::Table => self.table(&texts),
        })
    }

    fn table(&self, texts: &[String]) -> String {
        let widths: Vec<usize> =
            self.0.iter().zip(texts).map(|(column, text)| column.name.len().max(text.len())).collect();
        let rule: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect();
        let names = self.0.iter().zip(&widths);
        let head: String = names.map(|(c, &width)| format!("| {} ", centered(c.name, width))).collect();
        let row: String =
            texts.iter().zip(&widths).map(|(text, width)| format!("| {text:>width$} ")).collect();
        format!("{rule}+\n{head}|\n{rule}+\n{row}|\n{rule}+\n")
    }
}

fn centered(text: &str, width: usize) -> String {
    format!("{text:^width$}")
}

/// A size as Go's humanize prints it: two digits and a decimal prefix.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let (mut unit, mut size) = (0, bytes as f64);
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let rounded = (size * 10.0 + 0.5).floor() / 10.0;
    if rounded < 10.0 {
        format!("{rounded:.1} {}", UNITS[unit])
    } else {
        format!("{rounded:.0} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_etcdutl_prints_them() {
        for (bytes, text) in [
            (9, "9 B"),
            (20_480, "20 kB"),
            (1_500, "1.5 kB"),
            (82_854_982, "83 MB"),
            (999_999, "1000 kB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
