use proptest::prelude::*;

use super::*;

/// Every block of a stream, each as it is read.
fn read_all(mut stream: &[u8], mut see: impl FnMut(Block<'_>)) {
    let mut block = Vec::new();
    while next(&mut stream, &mut block).expect("a whole stream") {
        see(parse(&block).expect("a whole block"));
    }
}

#[test]
fn what_is_written_is_read() {
    let mut file = Vec::new();
    section(&mut file, "mcrd");
    interface(&mut file, "eth0 in", 96);
    let (rule, dropped) = (comment("rule feed-a"), comment("dropped too_big"));
    packet(&mut file, 0, u64::MAX - 5, 1_500, [&[1, 2], &[3, 4, 5]], Inbound::Yes, &[&rule, &dropped]);
    statistics(&mut file, 0, (1, u64::MAX), 17, 3);
    let mut blocks = Vec::new();
    read_all(&file, |block| blocks.push(format!("{block:?}")));
    let comments = vec!["rule feed-a", "dropped too_big"];
    let wanted = [
        Block::Other,
        Block::Interface { name: "eth0 in" },
        Block::Packet { interface: 0, time: u64::MAX - 5, original: 1_500, data: &[1, 2, 3, 4, 5], comments },
        Block::Statistics { interface: 0, received: 17, dropped: 3 },
    ];
    assert_eq!(blocks, wanted.map(|block| format!("{block:?}")));
}

#[test]
fn a_stream_that_breaks_off_is_an_error() {
    let mut file = Vec::new();
    section(&mut file, "mcrd");
    for end in 1..file.len() {
        let error = next(&mut &file[..end], &mut Vec::new()).expect_err("it is cut");
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "after {end} bytes");
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u32..8) {
        let mut block = kind.to_le_bytes().to_vec();
        block.extend(&bytes);
        parse(&block);
        parse(&bytes);
        let _ = next(&mut &bytes[..], &mut Vec::new());
    }
}
