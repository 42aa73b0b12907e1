//! Every demand against every kind of driver.

use std::io;

use super::*;

fn nic() -> Nic {
    Nic {
        name: "eth7".into(),
        ifindex: 7,
        driver: "made_up".into(),
        rx_queues: 1,
        tx_queues: 1,
        xdp_rx_queues: 1,
        max_queues: 1,
        mtu: 1500,
        mac: [2, 0, 0, 0, 0, 7],
        ..Nic::default()
    }
}

/// A driver: errno of native XDP, and what it says to zero-copy.
#[derive(Clone, Copy)]
struct Driver(Option<i32>, fn(String) -> Answer);

const GOOD: Driver = Driver(None, |_| Answer::Granted);
const COPIES: Driver = Driver(None, Answer::Refused);
const DEAF: Driver = Driver(None, Answer::Fails);
const WRONG: Driver = Driver(None, Answer::Doubtful);
const OLD: Driver = Driver(Some(libc::EOPNOTSUPP), Answer::Refused);
const TAKEN: Driver = Driver(Some(libc::EBUSY), Answer::Refused);

fn ask(mode: Mode, Driver(native, zero_copy): Driver) -> Result<(Attachment, bool, String), String> {
    let attach = |how| match (how, native) {
        (Attachment::Driver, Some(errno)) => Err(io::Error::from_raw_os_error(errno)),
        _ => Ok(()),
    };
    let granted =
        decide(&nic(), mode, attach, || zero_copy("made so".to_owned())).map_err(|error| error.to_string())?;
    Ok((granted.attachment, granted.zero_copy, granted.reason))
}

#[test]
fn auto_takes_the_best_and_says_why_it_is_not_better() {
    assert_eq!(ask(Mode::Auto, GOOD), Ok((Attachment::Driver, true, String::new())));
    let (how, zero_copy, why) = ask(Mode::Auto, COPIES).expect("granted");
    assert_eq!((how, zero_copy, &*why), (Attachment::Driver, false, "made_up grants no zero-copy: made so"));
    let (how, zero_copy, why) = ask(Mode::Auto, OLD).expect("granted");
    assert_eq!((how, zero_copy), (Attachment::Skb, false));
    assert!(why.starts_with("made_up has no native XDP here: "), "{why}");
}

#[test]
fn what_is_granted_and_does_not_work_is_not_taken() {
    let (how, zero_copy, why) = ask(Mode::Auto, DEAF).expect("granted");
    assert_eq!((how, zero_copy), (Attachment::Driver, false));
    assert_eq!(why, "made_up grants zero-copy, which does not work here: made so");
    let refused = ask(Mode::Zerocopy, DEAF).expect_err("refused");
    assert!(refused.starts_with("eth7: mode zerocopy, but made_up grants zero-copy, which"), "{refused}");
}

#[test]
fn demands_are_met_or_refused() {
    assert_eq!(ask(Mode::Zerocopy, GOOD), Ok((Attachment::Driver, true, String::new())));
    for driver in [GOOD, COPIES, DEAF, WRONG] {
        assert_eq!(ask(Mode::Copy, driver), Ok((Attachment::Driver, false, String::new())));
    }
    for driver in [GOOD, COPIES, DEAF, WRONG, OLD] {
        assert_eq!(ask(Mode::Skb, driver), Ok((Attachment::Skb, false, String::new())));
    }
    for (mode, driver, cause) in [
        (Mode::Zerocopy, COPIES, "grants no zero-copy: made so"),
        (Mode::Zerocopy, OLD, "refuses native XDP"),
        (Mode::Copy, OLD, "refuses native XDP"),
    ] {
        let error = ask(mode, driver).expect_err("refused");
        assert!(error.starts_with("eth7: ") && error.contains("made_up") && error.contains(cause), "{error}");
    }
}

/// What the kernel could not be asked is no answer: an interface gets less for a reason that holds, or waits to be asked again.
#[test]
fn a_question_that_could_not_be_asked_is_no_answer() {
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::EINTR] {
        ask(Mode::Auto, Driver(Some(errno), Answer::Refused)).expect_err("no answer");
    }
    let error = ask(Mode::Auto, Driver(None, Answer::NotAsked)).expect_err("no answer");
    assert!(error.starts_with("eth7: ") && error.contains("could not be asked"), "{error}");
}

/// What may lose packets is not taken unasked, and who asks is told.
#[test]
fn doubtful_zero_copy_is_for_those_who_demand_it() {
    assert_eq!(ask(Mode::Zerocopy, WRONG), Ok((Attachment::Driver, true, "made so".to_owned())));
    let (how, zero_copy, why) = ask(Mode::Auto, WRONG).expect("granted");
    assert_eq!((how, zero_copy), (Attachment::Driver, false));
    assert!(why.starts_with("made so; "), "{why}");

    let virtio = Nic { driver: "virtio_net".into(), ..nic() };
    assert!(zero_copy_doubt(&virtio, true).is_some());
    assert_eq!((zero_copy_doubt(&virtio, false), zero_copy_doubt(&nic(), true)), (None, None));
}

/// Another's program is no reason to put one beside it.
#[test]
fn an_interface_that_is_taken_stays_so() {
    for mode in [Mode::Auto, Mode::Zerocopy, Mode::Copy] {
        let error = ask(mode, TAKEN).expect_err("refused");
        assert!(error.contains("another XDP program is attached"), "{error}");
    }
}
