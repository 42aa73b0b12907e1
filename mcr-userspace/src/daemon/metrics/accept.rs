//! Which format a client wants: proactive negotiation by the Accept header (RFC 9110, section 12.5.1).

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus' own, version 0.0.4.
    Text,
    /// OpenMetrics.
    OpenMetrics,
}

/// What a client may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// How the body is written.
    pub format: Format,
    /// What it is called.
    pub content_type: &'static str,
    kind: &'static str,
    subtype: &'static str,
    version: &'static str,
}

/// What there is; of two that are as welcome the first is sent. OpenMetrics 0.0.1 is what Prometheus called 1.0.0 before it was named so.
const OFFERS: [Offer; 3] = [
    Offer {
        format: Format::Text,
        content_type: "text/plain; version=0.0.4; charset=utf-8",
        kind: "text",
        subtype: "plain",
        version: "0.0.4",
    },
    Offer {
        format: Format::OpenMetrics,
        content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
        kind: "application",
        subtype: "openmetrics-text",
        version: "1.0.0",
    },
    Offer {
        format: Format::OpenMetrics,
        content_type: "application/openmetrics-text; version=0.0.1; charset=utf-8",
        kind: "application",
        subtype: "openmetrics-text",
        version: "0.0.1",
    },
];

/// One element of an Accept header.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    version: Option<&'a str>,
    has_charset: bool,
    /// In thousandths.
    quality: u32,
}

/// What to send to a client with these Accept headers. Without one, and where nothing that there is is acceptable, format 0.0.4.
pub fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Offer {
    let ranges: Vec<Range<'_>> = headers.flat_map(|header| split(header, ',')).filter_map(Range::parse).collect();
    let mut best = (0, 0, OFFERS[0]);
    for offer in OFFERS {
        // The most specific range that matches decides, whatever others say.
        let matching = ranges.iter().filter_map(|range| Some((range.matches(&offer)?, range.quality)));
        let Some((specific, quality)) = matching.max() else { continue };
        if (quality, specific) > (best.0, best.1) && quality > 0 {
            best = (quality, specific, offer);
        }
    }
    best.2
}

impl<'a> Range<'a> {
    /// `None` for what is no range, which then says nothing.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = split(text, ';');
        let (kind, subtype) = parts.next()?.trim().split_once('/')?;
        let mut range = Self { kind, subtype, version: None, has_charset: false, quality: 1000 };
        for parameter in parts.filter(|parameter| !parameter.trim().is_empty()) {
            let (name, value) = parameter.trim().split_once('=')?;
            let value = value.trim_matches('"');
            match name.to_ascii_lowercase().as_str() {
                "q" => range.quality = quality(value)?,
                "version" => range.version = Some(value),
                "charset" if value.eq_ignore_ascii_case("utf-8") => range.has_charset = true,
                "charset" => return None,
                // Such as Prometheus' `escaping`, which changes nothing in names like ours.
                _ => {}
            }
        }
        Some(range)
    }

    /// How specifically it names what is offered; `None` where it does not.
    fn matches(&self, offer: &Offer) -> Option<usize> {
        if (self.kind, self.subtype) == ("*", "*") {
            return Some(1);
        }
        let of_kind = self.kind.eq_ignore_ascii_case(offer.kind);
        match self.version {
            _ if !of_kind => None,
            None if self.subtype == "*" => Some(2),
            _ if !self.subtype.eq_ignore_ascii_case(offer.subtype) => None,
            Some(version) if version != offer.version => None,
            version => Some(3 + usize::from(version.is_some()) + usize::from(self.has_charset)),
        }
    }
}

/// A weight (RFC 9110, section 12.4.2), in thousandths.
fn quality(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{part:0<3}").parse::<u32>().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// The parts between separators that are not within quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut in_quotes = false;
    text.split(move |c| {
        in_quotes ^= c == '"';
        c == separator && !in_quotes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = OFFERS[0].content_type;
    const OPEN: &str = OFFERS[1].content_type;
    const DRAFT: &str = OFFERS[2].content_type;

    #[test]
    fn the_client_gets_what_it_likes_best() {
        for (accept, wanted) in [
            ("", TEXT),
            ("*/*", TEXT),
            ("text/plain", TEXT),
            ("text/*", TEXT),
            ("text/plain;version=0.0.4", TEXT),
            ("text/plain; charset=utf-8", TEXT),
            ("application/openmetrics-text", OPEN),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"; Charset=UTF-8", OPEN),
            ("application/*", OPEN),
            ("application/openmetrics-text;version=0.0.1", DRAFT),
            // Prometheus 2.42, an older and a newer one.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OPEN,
            ),
            ("application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", DRAFT),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OPEN,
            ),
            // Protobuf first, which is not there.
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3",
                TEXT,
            ),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),
            ("text/plain;q=0.5,application/openmetrics-text;q=0.9", OPEN),
            ("text/plain;q=0.9 , application/openmetrics-text;q=0.5", TEXT),
            ("text/plain,application/openmetrics-text", TEXT),
            ("application/openmetrics-text,*/*", OPEN),
            // The more specific range decides, also against more.
            ("*/*;q=1.0,text/plain;q=0.1", OPEN),
            ("*/*, text/plain;q=0", OPEN),
            ("application/openmetrics-text;q=0, */*;q=0.1", TEXT),
            ("application/openmetrics-text;q=0.000,text/plain;q=0.001", TEXT),
            // Another version is not what there is.
            ("text/plain;version=1.0.0,application/openmetrics-text;q=0.1", OPEN),
            ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", TEXT),
            ("application/openmetrics-text;charset=latin1,text/plain;q=0.1", TEXT),
            // Nothing that there is: the format that all read.
            ("application/json", TEXT),
            ("text/plain;q=0", TEXT),
            ("application/openmetrics-text;q=0", TEXT),
            // No weights, no ranges.
            ("application/openmetrics-text;q=2,text/plain;q=0.1", TEXT),
            ("application/openmetrics-text;q=1.001", TEXT),
            ("application/openmetrics-text;q=-1", TEXT),
            ("application/openmetrics-text;q=nan", TEXT),
            ("application/openmetrics-text;q=0.1234", TEXT),
            (",,;q=1,/,*", TEXT),
            ("x/y;z=\"a,application/openmetrics-text,b\"", TEXT),
        ] {
            assert_eq!(choose([accept].into_iter()).content_type, wanted, "{accept}");
        }
        assert_eq!(choose(std::iter::empty()).content_type, TEXT);
        let several = ["text/plain;q=0.1", "application/openmetrics-text;q=0.2"];
        assert_eq!(choose(several.into_iter()).content_type, OPEN);
    }
}
