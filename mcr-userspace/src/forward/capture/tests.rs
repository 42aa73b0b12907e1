use proptest::prelude::*;

use super::*;

const ALL: Points = Points { received: true, sent: true, dropped: true };

/// A tap of capture 7 in `room` bytes that has rule 3 in slot 5.
fn taps(points: Points, snaplen: usize, room: usize) -> (Taps, Copies, Arc<Followed>) {
    let (tap, copies) = Tap::new(7, snaplen, room);
    let followed = Arc::new(Followed::new(3, points, 2));
    let mut taps = Taps::default();
    taps.add(tap);
    taps.follow(7, 5, followed.clone());
    (taps, copies, followed)
}

fn drain(copies: &mut Copies) -> Vec<(Head, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(head) = copies.peek() {
        copies.take(&head, |parts| all.push((head, parts.concat())));
    }
    all
}

#[test]
fn a_copy_is_cut_and_says_what_it_was() {
    let (mut taps, mut copies, _) = taps(ALL, 4, 1_000);
    let all = [
        Seen::In,
        Seen::Out(1),
        Seen::Dropped(RuleDrop::MartianSource),
        Seen::NotSent(1, OutputDrop::NoSource),
        Seen::NotSent(0, OutputDrop::TxRefused),
    ];
    for seen in all {
        taps.note(5, seen, b"packet", 1_500);
    }
    taps.note(4, Seen::In, b"of another rule", 15);
    let head = |seen| Head { time: 0, rule: 3, seen, original: 1_500, length: 4 };
    assert_eq!(drain(&mut copies), all.map(|seen| (head(seen), b"pack".to_vec())));
}

#[test]
fn only_what_is_wanted_is_copied() {
    let (mut taps, mut copies, followed) = taps(Points { sent: true, ..Points::default() }, 64, 1_000);
    taps.note(5, Seen::In, b"in", 2);
    taps.note(5, Seen::Dropped(RuleDrop::Malformed), b"no", 2);
    taps.note(5, Seen::Out(0), b"out", 3);
    assert_eq!(drain(&mut copies).len(), 1);
    taps.forget(5);
    taps.note(5, Seen::Out(0), b"out", 3);
    assert!(drain(&mut copies).is_empty(), "the slot is another rule's");
    assert_eq!(followed.lost_in.get() + followed.lost_outputs.get(0).expect("two").0.get(), 0);
    assert!(!taps.end(7), "it was the only one");
}

#[test]
fn what_finds_no_room_is_counted_where_it_was_seen() {
    let (mut taps, mut copies, followed) = taps(ALL, 64, 2 * (Head::LEN + 10));
    let packet = [0; 10];
    for seen in [Seen::In, Seen::Out(0), Seen::In, Seen::Out(1), Seen::NotSent(1, OutputDrop::TooBig), Seen::In] {
        taps.note(5, seen, &packet, 10);
    }
    taps.note(5, Seen::Dropped(RuleDrop::Malformed), &packet, 10);
    assert_eq!(drain(&mut copies).len(), 2);
    let outputs: Vec<_> = followed.lost_outputs.iter().map(|(sent, not)| (sent.get(), not.get())).collect();
    assert_eq!((followed.lost_in.get(), followed.lost_dropped.get(), outputs), (2, 1, vec![(0, 0), (1, 1)]));
    taps.note(5, Seen::In, &packet, 10);
    assert_eq!(drain(&mut copies).len(), 1, "there is room again");
}

proptest! {
    /// Whatever lengths, and whenever the other end reads: each packet is whole, in its order, or counted as lost.
    #[test]
    fn none_is_damaged(steps in proptest::collection::vec((0usize..40, any::<bool>()), 1..200)) {
        let (mut taps, mut copies, followed) = taps(ALL, 64, 200);
        let mut seen = Vec::new();
        let mut kept = Vec::new();
        for (number, (length, reads)) in steps.iter().enumerate() {
            let packet = vec![number as u8; *length];
            let lost = followed.lost_in.get();
            taps.note(5, Seen::In, &packet, *length);
            if followed.lost_in.get() == lost {
                kept.push(packet);
            }
            if *reads {
                seen.extend(drain(&mut copies));
            }
        }
        seen.extend(drain(&mut copies));
        prop_assert_eq!(seen.len() + followed.lost_in.get() as usize, steps.len());
        prop_assert!(seen.iter().map(|(_, packet)| packet).eq(&kept));
    }
}
