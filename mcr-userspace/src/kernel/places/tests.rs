//! The table against a plain map, through growth, removals and full buckets.

use std::collections::HashMap;

use mcr_common::flow::{PortKind, Shape, Vlan};
use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

/// A key among few, so that steps meet the same ones.
fn key(number: u16) -> FlowKey {
    FlowKey {
        ifindex: 3 + u32::from(number & 1),
        source: 0x0a00_0000 + u32::from(number >> 3),
        group: 0xef01_0101,
        port: 5_000 + (number >> 1 & 1),
        vlan: if number & 4 == 0 { Vlan::UNTAGGED } else { Vlan::tagged(100) },
        shape: Shape { source_len: 32, group_len: 32, port_len: 16, kind: PortKind::Exact as u8 },
    }
}

fn value(slot: u32) -> FlowValue {
    FlowValue { slot, xsk_base: slot ^ 5, queues: 4 }
}

fn agrees(places: &Places, model: &HashMap<FlowKey, FlowValue>) {
    for number in 0..2_000 {
        assert_eq!(places.get(&key(number)), model.get(&key(number)).copied(), "key {number}");
    }
    assert_eq!(places.entries as usize, model.len());
}

fn entries(model: &HashMap<FlowKey, FlowValue>) -> impl Iterator<Item = (&FlowKey, FlowValue)> + Clone {
    model.iter().map(|(key, value)| (key, *value))
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(64) })]

    /// As the kernel's table is kept: written anew in its other bank when it is small or crowded, buried now and then.
    #[test]
    fn it_is_the_map_of_its_entries(steps in proptest::collection::vec((0u16..2_000, 0u8..8), 1..3_000)) {
        let mut places = Places::new(Memory::owned(2_048));
        places.memory.at(0, 0).store(Head { bank: 0, buckets: LEAST }.to_word(), Relaxed);
        places.taken = vec![0; LEAST as usize];
        let mut model = HashMap::new();
        for (at, (number, what)) in steps.into_iter().enumerate() {
            let (key, value) = (key(number), value(at as u32));
            match what {
                0..=4 => {
                    model.insert(key, value);
                    let wants_more = places.is_small_for(1) && places.can_grow();
                    if wants_more || places.set(&key, &value).is_err() {
                        prop_assert!(places.rebuild(model.len() + 1, entries(&model)).is_ok());
                    }
                }
                5..=6 => {
                    model.remove(&key);
                    places.delete(&key);
                }
                _ => places.bury(),
            }
            prop_assert_eq!(places.get(&key), model.get(&key).copied());
        }
        agrees(&places, &model);
        prop_assert!(places.rebuild(model.len(), entries(&model)).is_ok());
        agrees(&places, &model);
    }
}

/// More entries than there is room for are refused, and the ones that are there stay.
#[test]
fn what_has_no_room_changes_nothing() {
    let mut places = Places::default();
    let mut model = HashMap::new();
    let refused = (0..2_000).find(|&number| match places.set(&key(number), &value(number.into())) {
        Ok(()) => model.insert(key(number), value(number.into())).is_some(),
        Err(Crowded) => true,
    });
    let refused = refused.expect("128 places are not enough for all");
    assert!(refused > u16::try_from(LEAST * ENTRIES_A_BUCKET).expect("few"), "refused at {refused}");
    agrees(&places, &model);
    model.insert(key(1_999), value(7));
    assert_eq!(
        places.rebuild(2_000, (0..2_000).map(key).collect::<Vec<_>>().iter().map(|key| (key, value(1)))),
        Err(Crowded)
    );
    model.remove(&key(1_999));
    agrees(&places, &model);
}

/// A place is not given away while a reader may still be looking at what was there.
#[test]
fn the_place_of_what_is_gone_waits() {
    let mut places = Places::default();
    places.set(&key(1), &value(1)).expect("room");
    let (block, at) = places.find(&key(1)).expect("there");
    places.delete(&key(1));
    assert_eq!(places.get(&key(1)), None);
    assert!(places.has_graves());
    places.set(&key(1), &value(2)).expect("room");
    assert_ne!(places.find(&key(1)), Some((block, at)));
    places.delete(&key(1));
    places.bury();
    assert!(!places.has_graves());
    places.set(&key(1), &value(3)).expect("room");
    assert_eq!(places.find(&key(1)), Some((block, at)));
    assert_eq!(places.get(&key(1)), Some(value(3)));
}

/// The filter keeps nearly all of the keys that no rule has from the buckets.
#[test]
fn the_filter_lets_few_through_in_vain() {
    let model: HashMap<_, _> = (0..1_000).map(|number| (key(number), value(1))).collect();
    let places = Places::of(model.len(), entries(&model));
    let (head, layout) = (places.memory.head(), places.memory.layout);
    let passes = |number: &u16| {
        let marks = marks(&key_words(&key(*number)), head.buckets);
        let (block, at) = layout.filter(head.bank, marks.word);
        places.memory.at(block, at).load(Relaxed) & marks.bits == marks.bits
    };
    assert_eq!((0..1_000).filter(passes).count(), 1_000);
    let in_vain = (1_000..u16::MAX).filter(passes).count();
    assert!(in_vain * 100 < usize::from(u16::MAX) * 3, "{in_vain} of {}", u16::MAX - 1_000);
}

/// Whatever the layout, nothing lies on anything else.
#[test]
fn a_layout_has_room_for_all_of_it() {
    for entries in [0, 1, 33, 1_024, 65_536, u32::MAX] {
        let layout = Layout::for_entries(entries);
        let ends = |bank| {
            let words = layout.capacity / 2;
            [
                layout.filter(bank, 0).0,
                layout.filter(bank, words - 1).0,
                layout.bucket(bank, 0),
                layout.bucket(bank, layout.capacity - 1),
            ]
        };
        let ([a, b, e, f], [c, d, g, h]) = (ends(0), ends(1));
        assert_eq!((a, c, e, g, h + 1), (1, b + 1, d + 1, f + 1, layout.blocks()), "{layout:?}");
    }
}
