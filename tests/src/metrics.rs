//! A page of metrics, read as strictly as the format permits (Prometheus text format 0.0.4).

use std::collections::{BTreeMap, BTreeSet};

use crate::api::Api;

/// Samples by their name and labels.
#[derive(Debug, Default)]
pub struct Page {
    samples: BTreeMap<(String, Labels), f64>,
    kinds: BTreeMap<String, String>,
}

type Labels = BTreeMap<String, String>;

impl Page {
    pub async fn scrape(api: &Api) -> Page {
        let reply = api.get("/metrics").await.expect(200);
        let content_type = reply.head.field("content-type");
        assert_eq!(content_type, Some("text/plain; version=0.0.4"));
        Page::read(&reply.text)
    }

    /// A family is told once, help, type and samples together; no sample is told twice; a histogram is one.
    #[track_caller]
    pub fn read(text: &str) -> Page {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut page = Page::default();
        let (mut family, mut helped) = (String::new(), String::new());
        for line in text.split_terminator('\n') {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a help says something");
                assert!(!help.is_empty(), "{line}");
                name.clone_into(&mut helped);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type says one");
                assert_eq!(name, helped, "the help comes before the type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(is_name(name), "{line}");
                let before = page.kinds.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} is told twice");
                name.clone_into(&mut family);
            } else {
                page.sample(&family, line);
            }
        }
        page.check_histograms();
        page
    }

    fn sample(&mut self, family: &str, line: &str) {
        let (head, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let (name, labels) = match head.split_once('{') {
            None => (head, Labels::new()),
            Some((name, labels)) => (name, read_labels(labels)),
        };
        let kind = &self.kinds[family];
        let is_its = match kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"]
                .map(|suffix| format!("{family}{suffix}"))
                .contains(&name.to_owned()),
            _ => name == family,
        };
        assert!(is_its, "{line} is no sample of {family}");
        assert!(kind == "gauge" || value >= 0.0, "{line}");
        let before = self.samples.insert((name.to_owned(), labels), value);
        assert_eq!(before, None, "{line} is told twice");
    }

    fn check_histograms(&self) {
        let histograms = self.kinds.iter().filter(|(_, kind)| *kind == "histogram");
        for (name, _) in histograms {
            let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for (labels, count) in self.all(&format!("{name}_bucket")) {
                let mut rest = labels.clone();
                let bound = rest.remove("le").expect("a bucket has a bound");
                let bound = if bound == "+Inf" {
                    f64::INFINITY
                } else {
                    bound.parse().unwrap()
                };
                series.entry(rest).or_default().push((bound, count));
            }
            for (labels, mut buckets) in series {
                buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
                assert!(
                    buckets.is_sorted_by(|one, next| one.1 <= next.1),
                    "{name}{labels:?}: {buckets:?}"
                );
                let (bound, all) = *buckets.last().unwrap();
                assert_eq!(bound, f64::INFINITY, "{name}{labels:?}");
                assert_eq!(self.samples[&(format!("{name}_count"), labels.clone())], all);
                assert!(self.samples.contains_key(&(format!("{name}_sum"), labels)), "{name}");
            }
        }
    }

    pub fn has(&self, family: &str) -> bool {
        self.kinds.contains_key(family)
    }

    /// Every sample of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = (&Labels, f64)> {
        let of_name = self.samples.iter().filter(move |((of, _), _)| of == name);
        of_name.map(|((_, labels), value)| (labels, *value))
    }

    /// Of all samples of that name with these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |(key, value): &(&str, &str), of: &Labels| of.get(*key).is_some_and(|other| other == value);
        let fits = |of: &Labels| labels.iter().all(|label| has(label, of));
        self.all(name).filter(|(of, _)| fits(of)).map(|(_, value)| value).sum()
    }

    /// The values of one label.
    pub fn values(&self, name: &str, label: &str) -> BTreeSet<String> {
        self.all(name)
            .filter_map(|(labels, _)| labels.get(label).cloned())
            .collect()
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let is_first = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    bytes.next().is_some_and(is_first) && bytes.all(|b| is_first(b) || b.is_ascii_digit())
}

/// What follows the brace.
fn read_labels(text: &str) -> Labels {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {text}"));
        assert!(is_name(name), "{text}");
        let mut read = String::new();
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next().unwrap_or_else(|| panic!("no end: {text}")) {
                (at, '"') => break at,
                (_, '\\') => match chars.next() {
                    Some((_, c @ ('\\' | '"'))) => read.push(c),
                    Some((_, 'n')) => read.push('\n'),
                    _ => panic!("no such escape: {text}"),
                },
                (_, c) => read.push(c),
            }
        };
        assert_eq!(labels.insert(name.to_owned(), read), None, "{text}");
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    assert_eq!(rest, "}", "{text}");
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "# HELP a_total What.\n# TYPE a_total counter\na_total{of=\"x\\\"\\\\\\n}\",b=\"\"} 3\na_total 0.5\n";

    #[test]
    fn what_is_well_written_is_read() {
        let page = Page::read(GOOD);
        assert_eq!(page.sum("a_total", &[("of", "x\"\\\n}")]), 3.0);
        assert_eq!(page.sum("a_total", &[]), 3.5);
    }

    #[test]
    fn what_is_not_is_refused() {
        for (from, to) in [
            ("3\n", "x\n"),
            ("3\n", "-3\n"),
            ("0.5\n", "0.5"),
            ("a_total 0.5\n", "b_total 0.5\n"),
            ("a_total 0.5\n", "a_total 0.5\na_total 1\n"),
            ("# HELP a_total What.\n", ""),
            (",b=", ",of="),
            ("\\n}", "\\t}"),
            ("\"\"} 3", "\"\" 3"),
        ] {
            assert!(GOOD.contains(from));
            let bad = GOOD.replacen(from, to, 1);
            assert!(std::panic::catch_unwind(|| Page::read(&bad)).is_err(), "{bad}");
        }
    }
}
