//! The Prometheus text format, version 0.0.4, and what both planes count for it.

mod histogram;
mod process;

use std::fmt::{self, Display, Write};

pub use self::histogram::{Distribution, Histogram};
pub use self::process::process;

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// A page of metrics: families, one after another, each under its name once.
#[derive(Default)]
pub struct Page(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The samples of one name.
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

pub type Label<'a> = (&'static str, &'a dyn Display);

impl Page {
    /// `help`: one line, no backslash.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> Family<'_> {
        let text = &mut self.0;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        write(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { text, name }
    }

    /// A family of one sample without labels.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: impl Display) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    /// As `gauge`.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: impl Display) {
        self.family(name, Kind::Counter, help).sample(&[], value);
    }

    pub fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    pub fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// Seconds.
    pub fn histogram(&mut self, labels: &[Label<'_>], of: &Distribution) {
        for (bound, count) in of.cumulated() {
            self.line("_bucket", labels, Some(bound), count);
        }
        self.line("_sum", labels, None, of.sum().as_secs_f64());
        self.line("_count", labels, None, of.count());
    }

    fn line(&mut self, suffix: &str, labels: &[Label<'_>], bound: Option<&str>, value: impl Display) {
        let bound: Option<Label<'_>> = bound.as_ref().map(|bound| ("le", bound as &dyn Display));
        write(self.text, format_args!("{}{suffix}", self.name));
        let mut before = '{';
        for (name, value) in labels.iter().chain(&bound) {
            write(self.text, format_args!("{before}{name}=\""));
            write(&mut Escaped(self.text), format_args!("{value}"));
            self.text.push('"');
            before = ',';
        }
        let after = if before == ',' { "}" } else { "" };
        write(self.text, format_args!("{after} {value}\n"));
    }
}

/// Nothing fails to be written to a string.
fn write(text: &mut impl Write, what: fmt::Arguments<'_>) {
    let _ = text.write_fmt(what);
}

/// As the value of a label is written.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, value: &str) -> fmt::Result {
        for c in value.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_page_is_written_as_the_format_says() {
        let mut page = Page::default();
        page.gauge("ready", "1 while it is.", 1);
        let mut family = page.family("requests_total", Kind::Counter, "Requests.");
        family.sample(&[("service", &"we\"b\\\n"), ("code", &200)], 7_u64);
        family.sample(&[("service", &"\"}"), ("code", &"")], 0.5);
        let expected = "# HELP ready 1 while it is.\n# TYPE ready gauge\nready 1\n\
                        # HELP requests_total Requests.\n# TYPE requests_total counter\n\
                        requests_total{service=\"we\\\"b\\\\\\n\",code=\"200\"} 7\n\
                        requests_total{service=\"\\\"}\",code=\"\"} 0.5\n";
        assert_eq!(page.into_text(), expected);
    }

    #[test]
    fn buckets_are_cumulated_up_to_all() {
        let histogram = Histogram::default();
        for micros in [1, 500, 501, 60_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let mut all = Distribution::default();
        all.add(&histogram);
        let mut page = Page::default();
        let mut family = page.family("took_seconds", Kind::Histogram, "Time.");
        family.histogram(&[("of", &"a")], &all);
        let text = page.into_text();
        for line in [
            "took_seconds_bucket{of=\"a\",le=\"0.0005\"} 2",
            "took_seconds_bucket{of=\"a\",le=\"0.001\"} 3",
            "took_seconds_bucket{of=\"a\",le=\"10\"} 3",
            "took_seconds_bucket{of=\"a\",le=\"+Inf\"} 4",
            "took_seconds_sum{of=\"a\"} 60.001002",
            "took_seconds_count{of=\"a\"} 4",
        ] {
            assert!(text.lines().any(|other| other == line), "no {line} in\n{text}");
        }
    }
}
