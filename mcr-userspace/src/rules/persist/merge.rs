//! One rule in another's place, with the comments and the layout of what both have.

use toml_edit::{Array, ArrayOfTables, InlineTable, Item, Table, TableLike, Value};

/// Makes `old` say what `new` says. Keys that stay keep their place, and their comments.
pub(super) fn table(old: &mut dyn TableLike, new: &InlineTable) {
    let gone: Vec<String> = old.iter().map(|(key, _)| key.to_owned()).filter(|key| !new.contains_key(key)).collect();
    for key in gone {
        old.remove(&key);
    }
    for (name, new) in new {
        key(old, name, new);
    }
}

/// Makes one key of `old` say what `new` says; it keeps its place, and its comments.
pub(super) fn key(old: &mut dyn TableLike, key: &str, new: &Value) {
    match old.get_mut(key) {
        Some(old) => item(old, new),
        None => {
            let mut new = new.clone();
            new.decor_mut().clear();
            old.insert(key, Item::Value(new));
        }
    }
}

/// A table on one line: whatever key is its last, the space before the brace stays.
fn inline(old: &mut InlineTable, new: &InlineTable) {
    let mut space = None;
    if let Some((_, last)) = old.iter_mut().last() {
        space = last.decor().suffix().cloned();
        last.decor_mut().set_suffix("");
    }
    table(old, new);
    if let (Some(space), Some((_, last))) = (space, old.iter_mut().last()) {
        last.decor_mut().set_suffix(space);
    }
}

fn item(old: &mut Item, new: &Value) {
    match (old, new) {
        (Item::Value(old), new) => value(old, new),
        (Item::Table(old), Value::InlineTable(new)) => table(old, new),
        (Item::ArrayOfTables(old), Value::Array(new)) => tables(old, new),
        (old, new) => *old = Item::Value(new.clone()),
    }
}

fn value(old: &mut Value, new: &Value) {
    match (old, new) {
        (Value::InlineTable(old), Value::InlineTable(new)) => inline(old, new),
        (Value::Array(old), Value::Array(new)) => array(old, new),
        (old, new) if plain(old) == plain(new) => {}
        (old, new) => {
            let decor = old.decor().clone();
            *old = new.clone();
            *old.decor_mut() = decor;
        }
    }
}

/// A number, text, which may be one, or a boolean.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Boolean(is) => Some(is.value().to_string()),
        _ => None,
    }
}

/// `[[rule.output]]`.
fn tables(old: &mut ArrayOfTables, new: &Array) {
    let before: Vec<Table> = old.iter().cloned().collect();
    let known = before.iter().map(|table| table as &dyn TableLike).collect();
    let mut after = ArrayOfTables::new();
    for (new, partner) in new.iter().filter_map(Value::as_inline_table).zip(partners(known, new)) {
        let mut made = partner.map_or_else(Table::new, |at| before[at].clone());
        table(&mut made, new);
        after.push(made);
    }
    *old = after;
}

/// An element of a list as it is written: what stands before it, itself, and a comment behind it on its line.
struct Element {
    lead: String,
    value: Value,
    tail: String,
}

/// `output = [...]`. A comment behind an element's comma belongs to that element, though TOML's grammar has it before the next one.
fn array(old: &mut Array, new: &Array) {
    let (head, before, end) = taken_apart(old);
    let known = before.iter().map(|element| element.value.as_inline_table());
    let known: Vec<&dyn TableLike> = known.flatten().map(|table| table as &dyn TableLike).collect();
    let pairs = if known.len() == before.len() { partners(known, new) } else { vec![None; new.len()] };
    // As the others stand, without their comments.
    let lead = before.last().map_or("\n  ", |element| {
        let from = element.lead.rfind('\n').unwrap_or(0);
        &element.lead[from..]
    });
    let (mut carried, mut first) = (head, true);
    old.clear();
    for (new, partner) in new.iter().zip(pairs) {
        let mut made = match partner {
            Some(at) => {
                let Element { lead, value, tail } = &before[at];
                Element { lead: lead.clone(), value: value.clone(), tail: tail.clone() }
            }
            None => {
                let lead = if lead.is_empty() && !first { " " } else { lead };
                Element { lead: lead.to_owned(), value: new.clone(), tail: String::new() }
            }
        };
        value(&mut made.value, new);
        made.value.decor_mut().set_prefix(joined(&carried, &made.lead));
        made.value.decor_mut().set_suffix("");
        old.push_formatted(made.value);
        (carried, first) = (made.tail, false);
    }
    old.set_trailing(joined(&carried, &end));
}

/// The comment behind an element, and what follows it: a comment ends with its line.
fn joined(comment: &str, rest: &str) -> String {
    let gap = if comment.contains('#') && !rest.starts_with('\n') { "\n" } else { "" };
    format!("{comment}{gap}{rest}")
}

/// What follows the bracket on its line, the elements, and what follows the last one.
fn taken_apart(array: &Array) -> (String, Vec<Element>, String) {
    let text =
        |raw: Option<&toml_edit::RawString>| raw.and_then(|raw| raw.as_str()).unwrap_or_default().replace('\r', "");
    let split = |text: String| match text.find('\n') {
        Some(at) => (text[..at].to_owned(), text[at..].to_owned()),
        // No comment without an end of its line.
        None => (String::new(), text),
    };
    let mut elements: Vec<Element> = Vec::new();
    let mut head = String::new();
    let mut carried = String::new();
    for value in array {
        let (tail, lead) = split(carried + &text(value.decor().prefix()));
        match elements.last_mut() {
            Some(before) => before.tail = tail,
            None => head = tail,
        }
        elements.push(Element { lead, value: value.clone(), tail: String::new() });
        carried = text(value.decor().suffix());
    }
    let (tail, end) = split(carried + &text(Some(array.trailing())));
    match elements.last_mut() {
        Some(last) => last.tail = tail,
        None => head = tail,
    }
    (head, elements, end)
}

/// For each element of `new` the position of the one that it goes on from: of outputs, the most alike.
fn partners(old: Vec<&dyn TableLike>, new: &Array) -> Vec<Option<usize>> {
    let mut found = vec![None; new.len()];
    let mut taken = vec![false; old.len()];
    for keys in [&["name", "interface", "group", "port", "vlan"][..], &["interface", "group", "port"], &["interface"]] {
        for (found, new) in found.iter_mut().zip(new).filter(|(found, _)| found.is_none()) {
            let new = new.as_inline_table();
            let alike = |old: &dyn TableLike| {
                keys.iter().all(|key| {
                    let of = |table: Option<&Item>| table.and_then(Item::as_value).and_then(plain);
                    of(old.get(key)) == new.and_then(|new| new.get(key)).and_then(plain)
                })
            };
            *found = (0..old.len()).find(|at| !taken[*at] && alike(old[*at]));
            if let Some(at) = *found {
                taken[at] = true;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(old: &str, new: &str) -> String {
        let mut document: toml_edit::DocumentMut = old.parse().expect("TOML");
        let new: toml_edit::DocumentMut = new.parse().expect("TOML");
        table(document.as_table_mut(), &new.as_table().clone().into_inline_table());
        document.to_string()
    }

    #[test]
    fn comments_stay_with_their_keys() {
        let old = "# top\nname = \"a\" # its name\n\n# what comes\nmatch = { interface = \"e0\", group = \"239.1.1.1\", port = 5 } # here\n";
        let new = "name = \"a\"\nmatch = { interface = \"e0\", group = \"239.1.1.2\" }\nstall_after = \"5s\"\n";
        let expected = "# top\nname = \"a\" # its name\n\n# what comes\nmatch = { interface = \"e0\", group = \"239.1.1.2\" } # here\nstall_after = \"5s\"\n";
        assert_eq!(merged(old, new), expected);
        assert_eq!(merged(old, old), old);
        let table = "[match] # here\n# where\ninterface = \"e0\" # in\n# which\ngroup = \"239.1.1.1\"\n";
        assert_eq!(merged(table, table), table);
        let moved = merged(table, "match = { interface = \"e1\", group = \"239.1.1.1\" }");
        assert_eq!(moved, table.replace("e0", "e1"));
    }

    #[test]
    fn comments_stay_with_their_outputs() {
        let old = "output = [ # two\n  # east\n  { interface = \"e1\", ttl = 5 }, # first\n  # west\n  { interface = \"e2\" }, # second\n  # more to come\n]\n";
        assert_eq!(merged(old, old), old);
        assert_eq!(
            merged(old, "output = [{ interface = \"e1\", ttl = 6 }, { interface = \"e2\" }]"),
            old.replace("ttl = 5", "ttl = 6")
        );
        assert_eq!(
            merged(old, "output = [{ interface = \"e2\" }]"),
            "output = [ # two\n  # west\n  { interface = \"e2\" }, # second\n  # more to come\n]\n"
        );
        assert_eq!(
            merged(old, "output = [{ interface = \"e3\" }, { interface = \"e2\" }, { interface = \"e1\", ttl = 5 }]"),
            "output = [ # two\n  { interface = \"e3\" },\n  # west\n  { interface = \"e2\" }, # second\n  # east\n  { interface = \"e1\", ttl = 5 }, # first\n  # more to come\n]\n"
        );
        // No comma at the end, one line, and tables.
        let bare = "output = [\n  { interface = \"e1\" }, # first\n  { interface = \"e2\" } # second\n]\n";
        assert_eq!(
            merged(bare, "output = [{ interface = \"e1\" }]"),
            "output = [\n  { interface = \"e1\" } # first\n]\n"
        );
        let line = "output = [{ interface = \"e1\" }] # all\n";
        let two = merged(line, "output = [{ interface = \"e1\" }, { interface = \"e2\" }]");
        assert_eq!(two, "output = [{ interface = \"e1\" }, { interface = \"e2\" }] # all\n");
        let tables =
            "# east\n[[output]]\n# there\ninterface = \"e1\"\n\n# west\n[[output]] # 2\ninterface = \"e2\" # far\n";
        assert_eq!(merged(tables, tables), tables);
        assert_eq!(
            merged(tables, "output = [{ interface = \"e2\", ttl = 9 }]"),
            "\n# west\n[[output]] # 2\ninterface = \"e2\" # far\nttl = 9\n"
        );
    }
}
