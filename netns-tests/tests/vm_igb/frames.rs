//! Frames of all lengths, with and without a tag, through the guest: which came out, and how often.

use std::{collections::BTreeMap, net::Ipv4Addr, thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use netns_tests::{
    deadline::{SOON, until},
    packet::{Packet, Tag},
    raw::Wire,
    topology::{GEN, Network, SINK},
};

/// Streams, so that every queue gets some: the NIC spreads them by their addresses.
const STREAMS: u8 = 16;
/// The VLAN of the tagged ones.
pub const VLAN: u16 = 100;
/// Lengths without a tag, which adds four bytes: the shortest and the longest, and those around what drivers cut at.
const LENGTHS: [usize; 20] =
    [60, 61, 64, 65, 127, 128, 500, 512, 1000, 1022, 1023, 1024, 1025, 1028, 1029, 1066, 1280, 1500, 1513, 1514];
/// Bytes before the payload: Ethernet, IPv4 and UDP.
const HEADERS: usize = 42;
/// So many frames are sent at once, and then this long none: a tap's queue and emulation carry it with ease.
const BURST: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);
/// When nothing has come for this long, nothing more will.
const QUIET: Duration = Duration::from_millis(700);

/// Rules for all streams, from `eth0` to `eth1`; a tagged one keeps its tag.
pub fn rules() -> String {
    let rule = |i: u8, tagged: bool| {
        let (name, vlan, out) = if tagged { ("tagged", "vlan = 100, ", 11) } else { ("plain", "", 10) };
        let group = group(i, tagged);
        format!(
            "[[rule]]\nname = \"{name}-{i}\"\nmatch = {{ interface = \"eth0\", {vlan}group = \"{group}\", port = 5001 \
             }}\noutput = [{{ interface = \"eth1\", vlan = \"keep\", group = \"239.{out}.0.{i}\", port = 6001 }}]\n\n"
        )
    };
    (0..STREAMS).flat_map(|i| [rule(i, false), rule(i, true)]).collect()
}

fn group(i: u8, tagged: bool) -> Ipv4Addr {
    Ipv4Addr::new(239, if tagged { 2 } else { 1 }, 0, i)
}

/// All frames, each with an IPv4 identification of its own.
fn frames() -> Vec<Packet> {
    let mut frames = Vec::new();
    for (number, length) in LENGTHS.iter().enumerate() {
        for i in 0..STREAMS {
            for tagged in [false, true] {
                let mut packet = Packet::new(group(i, tagged), 5001);
                packet.tag = tagged.then_some(Tag { priority: 0, drop_eligible: false, id: VLAN });
                packet.payload = (0..length - HEADERS).map(|at| (at + number) as u8).collect();
                packet.id = frames.len() as u16;
                frames.push(packet);
            }
        }
    }
    frames
}

/// How many there are.
pub fn count() -> u64 {
    (LENGTHS.len() * 2 * usize::from(STREAMS)) as u64
}

/// Sends them all at once from gen, and returns what is wrong with what came out at sink: nothing where each came once and whole.
pub fn cross(network: &Network) -> Result<Vec<String>> {
    let (from, to) = (Wire::open(network.namespace(GEN), "v0")?, Wire::open(network.namespace(SINK), "v3")?);
    let frames = frames();
    for (number, packet) in frames.iter().enumerate() {
        from.send(&packet.frame())?;
        if number % BURST == 0 {
            sleep(PAUSE);
        }
    }
    let mut came: BTreeMap<u16, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut last = 0;
    until("an end of what comes out", SOON, || {
        sleep(QUIET);
        for frame in to.received()? {
            match judged(&frame, &frames) {
                Ok(Some(id)) => *came.entry(id).or_default() += 1,
                Ok(None) => {}
                Err(error) => wrong.push(format!("{error:#}")),
            }
        }
        let now = came.values().sum::<u32>() + wrong.len() as u32;
        Ok((std::mem::replace(&mut last, now) == now).then_some(()))
    })?;
    let mut lost: BTreeMap<(usize, bool), u32> = BTreeMap::new();
    for packet in &frames {
        match came.get(&packet.id) {
            Some(1) => {}
            Some(times) => wrong.push(format!("{} came {times} times", packet.id)),
            None => *lost.entry((packet.frame().len(), packet.tag.is_some())).or_default() += 1,
        }
    }
    let tagged = |tagged| if tagged { "with" } else { "without" };
    wrong.extend(lost.iter().map(|((length, tag), n)| format!("lost: {n} of {length} bytes {} a tag", tagged(*tag))));
    Ok(wrong)
}

/// The identification of a frame that came out, where it is of a stream.
fn judged(frame: &[u8], sent: &[Packet]) -> Result<Option<u16>> {
    let (is_tagged, ip) = if frame.get(12..14) == Some(&[0x81, 0]) { (true, 18) } else { (false, 14) };
    let is_stream =
        frame.len() >= ip + 28 && frame[ip - 2..ip] == [8, 0] && frame[ip + 9] == 17 && frame[ip + 16] == 239;
    if !is_stream {
        return Ok(None);
    }
    let id = u16::from_be_bytes([frame[ip + 4], frame[ip + 5]]);
    let packet = sent.get(usize::from(id));
    let whole = packet.is_some_and(|packet| {
        let tag = packet.tag.map(|tag| tag.id);
        let got = is_tagged.then(|| u16::from_be_bytes([frame[14], frame[15]]) & 0xfff);
        tag == got && frame.get(ip + 28..ip + 28 + packet.payload.len()) == Some(&packet.payload[..])
    });
    ensure!(whole, "{id} came out changed: {} bytes", frame.len());
    Ok(Some(id))
}
