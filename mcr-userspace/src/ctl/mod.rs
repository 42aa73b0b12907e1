//! What `mcrctl` does: its arguments, the requests made of them, and the answers shown.

mod cli;
mod events;
mod outspec;
mod run;
mod show;
mod watch;

pub use cli::Cli;
pub use run::run;
