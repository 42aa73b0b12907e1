//! What the maps of the daemon's program hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result, ensure};
use aya::{
    maps::{Array, HashMap, Map, MapData, MapInfo, PerCpuHashMap},
    programs::loaded_programs,
};
use mcr_common::{
    counter::Verdict,
    flow::{FlowKey, FlowValue, Shape},
    limits::{GROUP_SHAPES, TABLE_SHAPES},
    places::{self, BLOCK, Blocks, Head, Layout, PLACE, PLACES, PRESENT},
};
use nix::unistd::Pid;

/// The maps of a daemon's program.
pub struct Maps {
    table: Array<MapData, [u64; BLOCK]>,
    groups_in_use: HashMap<MapData, FlowKey, FlowValue>,
    shapes: Array<MapData, Shape>,
    group_shapes: Array<MapData, Shape>,
    bank: Array<MapData, u32>,
    verdicts: PerCpuHashMap<MapData, u32, [u64; Verdict::COUNT]>,
}

impl Maps {
    /// Those of the program that the process `pid` has loaded, by the names that mcr-ebpf gives them.
    pub fn of(pid: Pid) -> Result<Self> {
        let mut programs = BTreeSet::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            let text = fs::read_to_string(entry?.path()).unwrap_or_default();
            let id = text.lines().find_map(|line| line.strip_prefix("prog_id:"));
            programs.extend(id.and_then(|id| id.trim().parse::<u32>().ok()));
        }
        // Other tests' programs may go while they are listed.
        let program = loaded_programs().filter_map(Result::ok).find(|program| programs.contains(&program.id()));
        let ids = program.context("mcrd has loaded no program")?.map_ids()?.context("the kernel tells no maps")?;
        let mut found = BTreeMap::new();
        for id in ids {
            let name = MapInfo::from_id(id)?.name_as_str().unwrap_or_default().to_owned();
            found.insert(name, MapData::from_id(id)?);
        }
        let mut take = |name: &str| found.remove(name).with_context(|| format!("mcrd has no map {name}"));
        Ok(Self {
            table: Map::Array(take("TABLE")?).try_into()?,
            groups_in_use: Map::HashMap(take("GROUP_FLOWS")?).try_into()?,
            shapes: Map::Array(take("SHAPES")?).try_into()?,
            group_shapes: Map::Array(take("GROUPS")?).try_into()?,
            bank: Map::Array(take("BANK")?).try_into()?,
            verdicts: Map::PerCpuHashMap(take("VERDICTS")?).try_into()?,
        })
    }

    /// Indices of the interfaces that have verdicts counted.
    pub fn counted(&self) -> Result<BTreeSet<u32>> {
        Ok(self.verdicts.keys().collect::<Result<_, _>>()?)
    }

    /// Keys of the groups that rules are for.
    pub fn groups(&self) -> Result<Vec<FlowKey>> {
        Ok(self.groups_in_use.keys().collect::<Result<_, _>>()?)
    }

    /// Shapes that are tried for a packet, and then for its group.
    pub fn shapes(&self) -> Result<[Vec<Shape>; 2]> {
        let bank = self.bank.get(&0, 0)?;
        let list = |map: &Array<MapData, Shape>, size: u32| -> Result<Vec<Shape>> {
            let all: Vec<Shape> = (0..size).map(|rank| map.get(&(bank * size + rank), 0)).collect::<Result<_, _>>()?;
            Ok(all.into_iter().take_while(|shape| *shape != Shape::END).collect())
        };
        Ok([list(&self.shapes, TABLE_SHAPES)?, list(&self.group_shapes, GROUP_SHAPES)?])
    }

    /// The table of rules as it is now.
    pub fn table(&self) -> Result<Table> {
        let blocks = self.table.iter().collect::<Result<Vec<[u64; BLOCK]>, _>>()?;
        let (head, capacity) = (Head::from_word(blocks[0][0]), blocks[0][1] as u32);
        let table = Table { blocks, head, layout: Layout { capacity } };
        ensure!(table.layout.blocks() as usize == table.blocks.len(), "a table of {} blocks", table.blocks.len());
        Ok(table)
    }
}

/// A copy of the table of rules.
pub struct Table {
    blocks: Vec<[u64; BLOCK]>,
    head: Head,
    layout: Layout,
}

impl Table {
    /// What the program finds for a key.
    pub fn get(&self, key: &FlowKey) -> Option<FlowValue> {
        places::get(&self, self.head, key)
    }

    /// Entries that are in it.
    pub fn entries(&self) -> usize {
        let buckets = (0..self.head.buckets).map(|bucket| self.layout.bucket(self.head.bank, bucket) as usize);
        let present =
            |block: usize| (0..PLACES).filter(|place| self.blocks[block][place * PLACE + PRESENT] != 0).count();
        buckets.map(present).sum()
    }
}

impl<'a> Blocks for &'a Table {
    type Block = &'a [u64; BLOCK];

    fn layout(&self) -> Layout {
        self.layout
    }

    fn block(&self, number: u32) -> Option<Self::Block> {
        self.blocks.get(number as usize)
    }

    fn word(block: Self::Block, at: usize) -> u64 {
        block[at]
    }
}
