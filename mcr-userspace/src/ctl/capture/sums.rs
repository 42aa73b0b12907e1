//! What a capture has seen at each point.

use std::io::{self, Write};

use serde_json::json;

/// So many points are all shown; of more, those at which there was something.
const ALL_SHOWN: usize = 16;

/// The points of a capture, by the numbers of their interface blocks.
#[derive(Debug, Default)]
pub(super) struct Sums(Vec<Point>);

#[derive(Debug)]
struct Point {
    /// `eth0 in`, `eth1 out feed-a/court1`.
    name: String,
    captured: u64,
    /// Packets that the capture has lost, once mcrd has told.
    lost: Option<u64>,
}

impl Sums {
    /// A point more.
    pub(super) fn interface(&mut self, name: &str) {
        self.0.push(Point { name: name.to_owned(), captured: 0, lost: None });
    }

    /// A packet at a point.
    pub(super) fn packet(&mut self, interface: u32) {
        if let Some(point) = self.0.get_mut(interface as usize) {
            point.captured += 1;
        }
    }

    /// The end of a point.
    pub(super) fn statistics(&mut self, interface: u32, dropped: u64) {
        if let Some(point) = self.0.get_mut(interface as usize) {
            point.lost = Some(dropped);
        }
    }

    /// The name of a point.
    pub(super) fn name(&self, interface: u32) -> &str {
        self.0.get(interface as usize).map_or("", |point| &point.name)
    }

    /// Whether mcrd has told all there is to tell.
    pub(super) fn is_complete(&self) -> bool {
        self.0.iter().all(|point| point.lost.is_some())
    }

    /// A line for each point, and one for all.
    pub(super) fn show(&self, json: bool, to: &mut dyn Write) -> io::Result<()> {
        let captured: u64 = self.0.iter().map(|point| point.captured).sum();
        let lost: u64 = self.0.iter().filter_map(|point| point.lost).sum();
        if json {
            let points: Vec<_> = self
                .0
                .iter()
                .map(|point| json!({"point": point.name, "captured": point.captured, "lost": point.lost}))
                .collect();
            return writeln!(to, "{}", json!({"captured": captured, "lost": lost, "points": points}));
        }
        let is_shown = |point: &&Point| self.0.len() <= ALL_SHOWN || point.captured > 0 || point.lost != Some(0);
        for Point { name, captured, lost } in self.0.iter().filter(is_shown) {
            let lost = lost.map_or("an unknown number".to_owned(), |lost| lost.to_string());
            let packets = if *captured == 1 { "packet" } else { "packets" };
            writeln!(to, "{name}: {captured} {packets} captured, {lost} lost by the capture")?;
        }
        let packets = if captured == 1 { "packet" } else { "packets" };
        writeln!(to, "all points: {captured} {packets} captured, {lost} lost by the capture")
    }
}
