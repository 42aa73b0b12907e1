//! What an error of the kernel says: a word about what was asked for, or that it could not be asked.

use std::io;

/// Whether the kernel said that there is no such interface (`ENODEV`), or that a socket's interface is gone (`ENXIO`). Every other error
/// leaves it open.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO))
}

/// Whether an error says nothing about what was asked for: descriptors, memory or time lacked. The same question may be answered later.
pub fn is_none(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    matches!(code, Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::EINTR | libc::EAGAIN))
}

/// What a driver says of itself; `Ok(None)` where it has no such thing (`EOPNOTSUPP`).
///
/// A device that is being reset is not "present", of which the kernel speaks as if there were none (`dev_ethtool()`,
/// net/ethtool/ioctl.c): that says nothing.
pub fn known<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        Err(error) if is_gone(&error) => Err(io::Error::other("its device does not answer, as in a reset")),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_definite_word_is_an_answer() {
        let of = io::Error::from_raw_os_error;
        for gone in [libc::ENODEV, libc::ENXIO] {
            assert!(is_gone(&of(gone)) && !is_none(&of(gone)));
        }
        for none in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EINTR] {
            assert!(is_none(&of(none)) && !is_gone(&of(none)));
        }
        for other in [libc::EPERM, libc::EOPNOTSUPP, libc::EINVAL] {
            assert!(!is_none(&of(other)) && !is_gone(&of(other)));
        }
        assert!(matches!(known::<()>(Err(of(libc::EOPNOTSUPP))), Ok(None)));
        assert!(known::<()>(Err(of(libc::EMFILE))).is_err());
        assert!(known::<()>(Err(of(libc::ENODEV))).is_err_and(|error| !is_gone(&error)));
    }
}
