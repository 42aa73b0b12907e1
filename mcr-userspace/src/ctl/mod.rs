//! What `mcrctl` does: its arguments, the requests made of them, and the answers shown.

mod batch;
mod capture;
mod check_status;
mod cli;
mod completions;
mod events;
mod link;
mod numbers;
mod explain;
mod outspec;
mod reload;
mod rules;
mod run;
mod show;
mod stats;
mod stop;
mod top;

pub use cli::Cli;
pub use run::run;
