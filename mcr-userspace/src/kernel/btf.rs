//! Where fields of the running kernel's structures lie, by its own description (BTF, Documentation/bpf/btf.rst in the kernel's source).

use std::{collections::HashMap, fs, io, path::Path};

/// The running kernel's description.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// include/uapi/linux/btf.h: the first two bytes.
const MAGIC: u16 = 0xeb9f;
/// Bytes of `struct btf_type`, and of each member of a struct or union.
const TYPE: usize = 12;
const MEMBER: usize = 12;
/// How deep unnamed members are looked into.
const DEPTH: u8 = 4;

// include/uapi/linux/btf.h: `BTF_KIND_*`.
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// A description of types.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    /// Where each type starts, by its number less one.
    types: Vec<usize>,
    /// Where the strings start.
    strings: usize,
    /// The named structs.
    structs: HashMap<Vec<u8>, usize>,
}

impl Btf {
    /// Reads a description.
    ///
    /// # Errors
    /// The file cannot be read, or is none.
    pub fn read(path: &Path) -> io::Result<Self> {
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "it is no BTF of a kind that mcrd knows");
        Self::parse(fs::read(path)?).ok_or_else(unknown)
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        if u16::from_ne_bytes(*bytes.first_chunk()?) != MAGIC {
            return None;
        }
        // struct btf_header: magic, version and flags, then its length, and where types and strings lie behind it.
        let [header, types, types_length, strings] =
            [4, 8, 12, 16].map(|at| word(&bytes, at).map(|word| word as usize));
        let start = header? + types?;
        let end = start + types_length?;
        let mut btf = Self { types: Vec::new(), strings: header? + strings?, structs: HashMap::new(), bytes };
        let mut at = start;
        while at < end {
            btf.types.push(at);
            let (kind, members) = btf.info(at)?;
            let name = btf.name(at)?;
            if kind == STRUCT && !name.is_empty() {
                let name = name.to_vec();
                btf.structs.entry(name).or_insert(at);
            }
            at += TYPE + extra(kind)? * if has_members(kind) { members } else { 1 };
        }
        Some(btf)
    }

    /// Bytes of a struct.
    pub fn size(&self, name: &str) -> Option<u32> {
        word(&self.bytes, *self.structs.get(name.as_bytes())? + 8)
    }

    /// Bytes from the start of a struct to a field of it, which may be a field of an unnamed member.
    pub fn offset(&self, name: &str, field: &str) -> Option<u32> {
        self.find(*self.structs.get(name.as_bytes())?, field.as_bytes(), DEPTH)
    }

    fn find(&self, at: usize, field: &[u8], depth: u8) -> Option<u32> {
        let (kind, members) = self.info(at)?;
        if !matches!(kind, STRUCT | UNION) {
            return None;
        }
        (0..members).find_map(|member| {
            let member = at + TYPE + member * MEMBER;
            // In a struct with bit fields, the upper byte of the offset is the field's width.
            let bits = word(&self.bytes, member + 8)? & if self.has_widths(at)? { 0xff_ffff } else { u32::MAX };
            let name = self.name(member)?;
            if name == field {
                return Some(bits / 8);
            }
            let inner = *self.types.get((word(&self.bytes, member + 4)? as usize).checked_sub(1)?)?;
            let inner = (name.is_empty() && depth > 0).then(|| self.find(inner, field, depth - 1))??;
            Some(bits / 8 + inner)
        })
    }

    /// Kind and number of members of the type at `at`.
    fn info(&self, at: usize) -> Option<(u32, usize)> {
        let info = word(&self.bytes, at + 4)?;
        Some((info >> 24 & 0x1f, (info & 0xffff) as usize))
    }

    fn has_widths(&self, at: usize) -> Option<bool> {
        Some(word(&self.bytes, at + 4)? >> 31 == 1)
    }

    /// The name of the type or member at `at`: its first word says where.
    fn name(&self, at: usize) -> Option<&[u8]> {
        let start = self.strings + word(&self.bytes, at)? as usize;
        self.bytes.get(start..)?.split(|&byte| byte == 0).next()
    }
}

/// Bytes behind a type of this kind: in all, or for each of its members.
fn extra(kind: u32) -> Option<usize> {
    match kind {
        // INT, VAR, DECL_TAG.
        1 | 14 | 17 => Some(4),
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG.
        2 | 7..=12 | 16 | 18 => Some(0),
        // ENUM, FUNC_PROTO.
        6 | 13 => Some(8),
        // DATASEC, ENUM64.
        ARRAY | STRUCT | UNION | 15 | 19 => Some(12),
        _ => None,
    }
}

/// Whether the number of members counts: structs, unions, enums, prototypes, sections.
fn has_members(kind: u32) -> bool {
    matches!(kind, STRUCT | UNION | 6 | 13 | 15 | 19)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As bpftool shows the kernel of any machine that runs this.
    #[test]
    fn fields_of_the_running_kernel() {
        let Ok(btf) = Btf::read(Path::new(VMLINUX)) else { return };
        assert_eq!(btf.offset("iphdr", "ttl"), Some(8));
        assert_eq!(btf.offset("iphdr", "daddr"), Some(16), "in an unnamed union");
        assert_eq!(btf.size("iphdr"), Some(20));
        assert_eq!(btf.offset("iphdr", "no_such_field"), None);
        assert_eq!(btf.size("no_such_struct"), None);
    }

    #[test]
    fn nothing_makes_it_panic() {
        for length in 0..64 {
            for byte in [0, 1, 0x9f, 0xff] {
                let mut bytes = vec![byte; length];
                bytes.iter_mut().zip(MAGIC.to_ne_bytes()).for_each(|(to, from)| *to = from);
                drop(Btf::parse(bytes));
            }
        }
    }
}
