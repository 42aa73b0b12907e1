//! nftables: what `nft -j list ruleset` prints (libnftables-json(5)).

mod field;

use std::collections::HashMap;

use serde_json::Value;

use super::{
    Action, Base, Chain, Chains, Message, Place, Rule, Truth,
    known::{Kind, Known, parse},
};
use crate::doctor::finding::quoted;
use field::field;

/// Sets and maps that have names, by family, table and `@name`.
type Sets<'a> = HashMap<String, &'a Value>;

/// Reads the chains through which `message` may come.
pub(super) fn read(text: &str, program: &str, message: &Message) -> Result<Chains, String> {
    let root: Value = serde_json::from_str(text).map_err(|error| format!("what `{program}` prints: {error}"))?;
    let objects =
        root.get("nftables").and_then(Value::as_array).ok_or_else(|| format!("`{program}` lists no rules"))?;
    let of = |kind: &'static str| objects.iter().filter_map(move |object| object.get(kind));
    let mut sets = Sets::new();
    for set in of("set").chain(of("map")) {
        sets.insert(key(set, "table", &format!("@{}", word(set, "name"))), set);
    }
    let mut chains = Chains::default();
    for chain in of("chain").filter(|chain| ["ip", "inet", "netdev"].contains(&word(chain, "family"))) {
        let base = is_on_the_way(chain, message).then(|| base(chain, program));
        chains.0.insert(key(chain, "table", word(chain, "name")), Chain { base, rules: Vec::new() });
    }
    for rule in of("rule") {
        if let Some(chain) = chains.0.get_mut(&key(rule, "table", word(rule, "chain"))) {
            chain.rules.extend(rules(rule, message, &sets));
        }
    }
    Ok(chains)
}

fn word<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn key(object: &Value, table: &str, name: &str) -> String {
    format!("{} {} {name}", word(object, "family"), word(object, table))
}

/// Whether the message passes a chain: at ingress and egress it is hooked to interfaces.
fn is_on_the_way(chain: &Value, message: &Message) -> bool {
    match (message.kind, word(chain, "hook")) {
        (Kind::Query, "prerouting" | "input") | (Kind::Report, "output" | "postrouting") => true,
        (Kind::Query, "ingress") | (Kind::Report, "egress") => {
            let own = Known::Word(message.interface.clone());
            let is_own = |dev: &Value| dev.as_str().is_some_and(|dev| own.is(dev) == Truth::Yes);
            match chain.get("dev") {
                Some(Value::Array(all)) => all.iter().any(is_own),
                dev => dev.is_some_and(is_own),
            }
        }
        _ => false,
    }
}

fn base(chain: &Value, program: &str) -> Base {
    let [family, table, name] = ["family", "table", "name"].map(|key| word(chain, key));
    let fix = format!("{program} insert rule {family} {} {} ip protocol igmp accept", quoted(table), quoted(name));
    let place = Place { name: format!("nftables, chain {name} of table {family} {table}"), fix };
    Base { place, drops: word(chain, "policy") == "drop" }
}

/// A rule as one or, where it chooses among verdicts, several.
fn rules(rule: &Value, message: &Message, sets: &Sets<'_>) -> Vec<Rule> {
    let target = |value: &Value| key(rule, "table", word(value, "target"));
    let verdict = |name: &str, value: &Value| match name {
        "accept" | "dnat" | "snat" | "masquerade" | "redirect" => Some(Action::Accept),
        "drop" | "reject" => Some(Action::Drop),
        "return" => Some(Action::Return),
        "jump" => Some(Action::Jump(target(value))),
        "goto" => Some(Action::Goto(target(value))),
        "queue" | "fwd" | "tproxy" | "synproxy" => Some(Action::Unknown),
        _ => None,
    };
    let mut matches = Truth::Yes;
    let mut all = Vec::new();
    let statements = rule.get("expr").and_then(Value::as_array).into_iter().flatten();
    for (name, value) in statements.filter_map(Value::as_object).flatten() {
        match name.as_str() {
            "match" => matches = matches.and(is_match(value, rule, message, sets)),
            "vmap" => {
                let known = field(value.get("key").unwrap_or(&Value::Null), message);
                for (element, choice) in choices(value.get("data"), rule, sets).iter().filter_map(pair) {
                    let does = choice.as_object().and_then(|choice| choice.iter().next());
                    let does = does.and_then(|(name, value)| verdict(name, value));
                    let matches = matches.and(compare(&known, element, rule, sets));
                    all.push(Rule { matches, does: does.unwrap_or(Action::Nothing) });
                }
            }
            // These only note or change something.
            "counter" | "log" | "notrack" | "mangle" | "dup" | "set" | "map" | "last" | "flow" | "secmark"
            | "ct helper" | "ct timeout" | "ct expectation" => {}
            name => match verdict(name, value) {
                Some(does) => all.push(Rule { matches, does }),
                // A limit, a match of iptables, something new.
                None => matches = matches.and(Truth::Maybe),
            },
        }
    }
    all
}

fn is_match(value: &Value, rule: &Value, message: &Message, sets: &Sets<'_>) -> Truth {
    let null = &Value::Null;
    let [left, right] = ["left", "right"].map(|side| value.get(side).unwrap_or(null));
    let known = field(left, message);
    if known == Known::Absent {
        return Truth::No;
    }
    let numbers = || known.number().zip(right.as_u64().or_else(|| parse(right.as_str()?)));
    let ordered = |is: fn(u64, u64) -> bool| numbers().map_or(Truth::Maybe, |(own, other)| is(own, other).into());
    match word(value, "op") {
        "==" | "in" => compare(&known, right, rule, sets),
        "!=" => !compare(&known, right, rule, sets),
        "<" => ordered(|own, other| own < other),
        "<=" => ordered(|own, other| own <= other),
        ">" => ordered(|own, other| own > other),
        ">=" => ordered(|own, other| own >= other),
        _ => Truth::Maybe,
    }
}

/// Whether a field holds what a rule names, or one of what it names.
fn compare(known: &Known, wanted: &Value, rule: &Value, sets: &Sets<'_>) -> Truth {
    let any = |all: &[Value]| Truth::any(all.iter().map(|one| compare(known, one, rule, sets)));
    match wanted {
        Value::String(word) if word == "*" => Truth::Yes,
        Value::String(name) if name.starts_with('@') => any(choices(Some(wanted), rule, sets)),
        Value::String(word) => known.is(word),
        Value::Number(number) => known.is(&number.to_string()),
        Value::Array(all) => any(all),
        Value::Object(object) => match object.iter().next().map(|(name, value)| (name.as_str(), value)) {
            Some(("set", Value::Array(all))) => any(all),
            Some(("set", one)) => compare(known, one, rule, sets),
            Some(("elem", element)) => compare(known, element.get("val").unwrap_or(&Value::Null), rule, sets),
            Some(("prefix", prefix)) => match prefix.get("len").and_then(Value::as_u64) {
                Some(length) => known.is_within(word(prefix, "addr"), length as u32),
                None => Truth::Maybe,
            },
            Some(("range", range)) => {
                let bound = |at: usize| range.get(at).and_then(|end| end.as_u64().or_else(|| parse(end.as_str()?)));
                match (known.number(), bound(0), bound(1)) {
                    (Some(own), Some(first), Some(last)) => (first <= own && own <= last).into(),
                    _ => Truth::Maybe,
                }
            }
            Some(("concat", Value::Array(all))) => match known {
                Known::Several(own) if own.len() == all.len() => {
                    let each = own.iter().zip(all).map(|(own, wanted)| compare(own, wanted, rule, sets));
                    each.fold(Truth::Yes, Truth::and)
                }
                _ => Truth::Maybe,
            },
            _ => Truth::Maybe,
        },
        _ => Truth::Maybe,
    }
}

/// The elements of a set or a map, with a name or without.
fn choices<'a>(set: Option<&'a Value>, rule: &Value, sets: &Sets<'a>) -> &'a [Value] {
    let elements = match set {
        Some(Value::String(name)) => sets.get(&key(rule, "table", name)).and_then(|set| set.get("elem")),
        Some(Value::Object(object)) => object.get("set"),
        _ => None,
    };
    elements.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn pair(element: &Value) -> Option<(&Value, &Value)> {
    Some((element.get(0)?, element.get(1)?))
}
