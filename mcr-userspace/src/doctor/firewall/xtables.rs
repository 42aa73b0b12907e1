//! iptables of the older kind: what `iptables-legacy-save` prints (iptables(8), iptables-extensions(8)).

use super::{
    Action, Base, Chain, Chains, Message, Place, Rule, Truth,
    known::{Kind, Known},
};

/// Chains through which packets come in, and go out.
const IN: [&str; 2] = ["PREROUTING", "INPUT"];
const OUT: [&str; 2] = ["OUTPUT", "POSTROUTING"];
/// Targets that only note or change something.
const HARMLESS: [&str; 16] = [
    "LOG",
    "NFLOG",
    "MARK",
    "CONNMARK",
    "CT",
    "NOTRACK",
    "TOS",
    "DSCP",
    "TTL",
    "CLASSIFY",
    "AUDIT",
    "TRACE",
    "SECMARK",
    "CONNSECMARK",
    "CHECKSUM",
    "SET",
];

/// Reads the chains through which `message` may come; `program` changes them.
pub(super) fn read(text: &str, program: &str, message: &Message) -> Result<Chains, String> {
    let on_the_way = if message.kind == Kind::Query { IN } else { OUT };
    let mut chains = Chains::default();
    let mut table = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.trim();
        } else if let Some((name, rest)) = line.strip_prefix(':').and_then(|line| line.split_once(' ')) {
            let base = on_the_way.contains(&name).then(|| Base {
                place: Place {
                    name: format!("iptables, chain {name} of table {table}"),
                    fix: format!("{program} -t {table} -I {name} -p igmp -j ACCEPT"),
                },
                drops: rest.starts_with("DROP"),
            });
            chains.0.insert(format!("{table} {name}"), Chain { base, rules: Vec::new() });
        } else if let Some((name, rest)) = line.strip_prefix("-A ").and_then(|line| line.split_once(' '))
            && let Some(chain) = chains.0.get_mut(&format!("{table} {name}"))
        {
            chain.rules.push(rule(rest, table, message));
        }
    }
    Ok(chains)
}

fn rule(text: &str, table: &str, message: &Message) -> Rule {
    let mut rule = Rule { matches: Truth::Yes, does: Action::Nothing };
    let words = words(text);
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        let negated = word == "!";
        let option = if negated { words.next().unwrap_or_default() } else { word };
        if !option.starts_with('-') {
            // The value of an option that is not known.
            continue;
        }
        let value = words.next_if(|next| *next != "!" && !next.starts_with('-')).unwrap_or_default();
        let truth = match option {
            // Which module a match is of says nothing by itself.
            "-m" | "--match" | "--comment" => continue,
            "-j" | "-g" => {
                rule.does = action(value, table, option == "-g");
                // What follows belongs to the target.
                break;
            }
            "-p" => {
                if value == "all" {
                    Truth::Yes
                } else {
                    Known::Number(2, "igmp").is(value)
                }
            }
            "-i" => Known::Word(message.comes_in().to_owned()).is(value),
            "-o" => Known::Word(message.goes_out().to_owned()).is(value),
            "-d" => within(&Known::Address(message.group()), value),
            "-s" => within(&Known::Open, value),
            "--ctstate" | "--state" => one_of("NEW", value),
            "--pkt-type" if message.kind == Kind::Query => one_of("multicast", value),
            "--dst-type" => one_of("MULTICAST", value),
            _ => Truth::Maybe,
        };
        rule.matches = rule.matches.and(if negated { !truth } else { truth });
    }
    rule
}

fn action(target: &str, table: &str, is_goto: bool) -> Action {
    match target {
        "ACCEPT" | "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT" => Action::Accept,
        "DROP" | "REJECT" => Action::Drop,
        "RETURN" => Action::Return,
        "NFQUEUE" | "QUEUE" | "TPROXY" | "TARPIT" | "STEAL" => Action::Unknown,
        target if HARMLESS.contains(&target) => Action::Nothing,
        chain if is_goto => Action::Goto(format!("{table} {chain}")),
        chain => Action::Jump(format!("{table} {chain}")),
    }
}

fn within(known: &Known, value: &str) -> Truth {
    let (address, length) = value.split_once('/').unwrap_or((value, "32"));
    length.parse().map_or(Truth::Maybe, |length| known.is_within(address, length))
}

fn one_of(own: &str, value: &str) -> Truth {
    value.split(',').any(|word| word == own).into()
}

/// Words as a shell takes them: a comment stands in double quotes, with `\` before those within.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\\' if is_quoted => word.get_or_insert_default().extend(chars.next()),
            c if c.is_whitespace() && !is_quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
