//! `cargo xtask setup`: finds or installs what the build and the tests need.

mod apt;
mod install;
mod inventory;
pub mod rust;

use anyhow::{Result, bail};

use inventory::{Item, Lack};

/// Arguments of `cargo xtask setup`.
#[derive(clap::Args)]
pub struct Args {
    /// Only list what is here and what lacks; exit 1 when something lacks
    #[arg(long)]
    check: bool,
}

/// Installs what lacks, or only lists.
///
/// # Errors
///
/// Something lacks still; the text has the command for each.
pub fn run(args: &Args) -> Result<()> {
    if !args.check {
        ensure()?;
        println!("setup: all is here");
        return Ok(());
    }
    let items = inventory::take();
    for item in &items {
        match &item.state {
            Ok(place) => println!("here   {:<32} {place}", item.what),
            Err(lack) => println!("lacks  {:<32} {}", item.what, remedy(lack)),
        }
    }
    match items.iter().filter(|item| item.state.is_err()).count() {
        0 => Ok(()),
        count => bail!("{count} of {} lack: cargo xtask setup installs them", items.len()),
    }
}

/// Does nothing when nothing lacks, and else installs it.
///
/// # Errors
///
/// Something lacks still; the text has the command for each.
pub fn ensure() -> Result<()> {
    if inventory::take().iter().all(|item| item.state.is_ok()) {
        return Ok(());
    }
    install::all();
    let lacking: Vec<String> = inventory::take().iter().filter_map(lacking).collect();
    if !lacking.is_empty() {
        bail!("setup could not install everything:\n  {}", lacking.join("\n  "));
    }
    Ok(())
}

/// Installs what only `cargo xtask bench` needs. What cannot be had is told: the bench then leaves out whoever needs it, and
/// says so.
pub fn ensure_bench() {
    let lacks: Vec<Lack> = inventory::for_bench().into_iter().filter_map(|item| item.state.err()).collect();
    if let Err(error) = install::packages(&lacks) {
        eprintln!("{error:#}");
    }
    for text in inventory::for_bench().iter().filter_map(lacking) {
        eprintln!("{text}");
    }
}

fn lacking(item: &Item) -> Option<String> {
    item.state.as_ref().err().map(|lack| format!("{}: {}", item.what, remedy(lack)))
}

/// The command that brings what lacks.
fn remedy(lack: &Lack) -> String {
    match lack {
        Lack::Packages(lists) if apt::is_here() => format!("apt-get install {}", lists.join("  # or: ")),
        Lack::Packages(lists) => format!("install what Debian calls {}", lists.join(", or ")),
        Lack::Component(name) => format!("rustup component add {name}"),
        Lack::BpfRust(why) => format!("rustup component add rust-src  # {why}"),
        Lack::BpfLinker(_, why) => format!("cargo xtask setup  # {why}"),
        Lack::CargoDeny => "cargo install --locked cargo-deny".to_owned(),
    }
}
