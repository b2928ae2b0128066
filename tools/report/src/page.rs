//! One HTML page that needs nothing else: its style and its plots are in it.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::{Machine, Table};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;color:#282c34;background:#f5f6f8;margin:0}\
main{max-width:72rem;margin:0 auto;padding:1rem 1.2rem 4rem}h1{font-size:1.7rem;margin:1.2rem 0 .2rem}\
h2{font-size:1.2rem;margin:2rem 0 .5rem;border-bottom:1px solid #d8dce3;padding-bottom:.2rem}\
p{margin:.5rem 0}p.lead{font-size:1.1rem}section.plots{display:grid;gap:1rem}\
figure{margin:.8rem 0;background:#fff;border:1px solid #e0e3e9;border-radius:6px;padding:.3rem}\
figure svg{display:block;width:100%;height:auto}div.wide{overflow-x:auto}\
table{border-collapse:collapse;background:#fff;border:1px solid #e0e3e9;font-variant-numeric:tabular-nums;width:100%}\
th,td{font-size:.88rem;padding:.26rem .5rem;text-align:right;border-bottom:1px solid #eceef2;white-space:nowrap}\
th{background:#eef0f4;font-weight:600}th:first-child,td:first-child{text-align:left}table.facts td{text-align:left;white-space:normal}table.facts{width:auto}\
pre{background:#fff;border:1px solid #e0e3e9;border-radius:6px;padding:.7rem;overflow-x:auto;font-size:.8rem;line-height:1.25}\
footer{color:#697080;font-size:.85rem;margin-top:2.5rem}";

/// A page that is being written.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// A page with a title and nothing else.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self { title: escape(title), body: format!("<h1>{}</h1>\n", escape(title)) }
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h2>{}</h2>", escape(text));
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escape(text));
    }

    /// A paragraph that says what the page is about.
    pub fn lead(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p class=\"lead\">{}</p>", escape(text));
    }

    /// A plot of [`crate::chart`] or [`crate::heat`].
    pub fn plot(&mut self, svg: &str) {
        // Without a view box it could not be scaled; plotters writes one.
        let _ = writeln!(self.body, "<figure>{svg}</figure>");
    }

    /// A table.
    pub fn table(&mut self, table: &Table) {
        let row = |tag: &str, cells: &[String]| {
            let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
            format!("<tr>{cells}</tr>")
        };
        let rows: String = table.rows.iter().map(|cells| row("td", cells)).collect();
        let head = row("th", &table.head);
        // Names and values are read from left to right; figures are compared from above to below.
        let class = if table.head.len() == 2 { " class=\"facts\"" } else { "" };
        let _ = writeln!(self.body, "<div class=\"wide\"><table{class}>{head}{rows}</table></div>");
    }

    /// Text as it would stand in a terminal.
    pub fn text(&mut self, text: &str) {
        let _ = writeln!(self.body, "<pre>{}</pre>", escape(text));
    }

    /// The whole page, with the machine at its end.
    #[must_use]
    pub fn to_html(&self, machine: &Machine) -> String {
        let mut facts = Table::new(&["machine", ""]);
        machine.facts().into_iter().for_each(|(name, value)| facts.row([name.to_owned(), value]));
        let mut whole = self.clone();
        whole.heading("The machine");
        whole.table(&facts);
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{}</title><style>{STYLE}</style></head>\n<body><main>\n{}\
             <footer>Written by Windlass {}.</footer>\n</main></body></html>\n",
            whole.title,
            whole.body,
            env!("CARGO_PKG_VERSION"),
        )
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path, machine: &Machine) -> io::Result<()> {
        std::fs::write(path, self.to_html(machine))
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_all_in_it_and_nothing_from_elsewhere() {
        let mut page = Page::new("a < b");
        page.heading("plots & tables");
        page.plot("<svg></svg>");
        let mut table = Table::new(&["x"]);
        table.row(["<script>"]);
        page.table(&table);
        let html = page.to_html(&Machine::default());
        for part in ["<title>a &lt; b</title>", "plots &amp; tables", "<svg>", "&lt;script&gt;"] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("http") && !html.contains("src="), "{html}");
    }
}
