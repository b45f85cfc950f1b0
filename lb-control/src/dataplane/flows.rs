//! The flow tables, to be asked for one entry. Walking them is `connections.rs`.

use anyhow::Context;
use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray},
};
use bytemuck::Zeroable as _;
use lb_common::{
    address::{Address4, Address6},
    family::{Family, V4, V6},
    flow::{Flow, FlowKey},
    lease::Clock,
    record::Record,
    state::State,
    verdict::Event,
};

use super::bpffs::Pins;

/// The tables that are pinned.
pub struct PinnedTables {
    clock: Array<MapData, Clock>,
    v4: HashMap<MapData, FlowKey<Address4>, Flow<Address4>>,
    v6: HashMap<MapData, FlowKey<Address6>, Flow<Address6>>,
    events: PerCpuArray<MapData, u64>,
}

impl PinnedTables {
    /// Opens them.
    ///
    /// # Errors
    /// If there is no data plane.
    pub fn open(pins: &Pins) -> anyhow::Result<Self> {
        let maps = pins.maps();
        let open = |name: &str| {
            let path = maps.join(name);
            MapData::from_pin(&path).with_context(|| format!("opening {}", path.display()))
        };
        Ok(Self {
            clock: Array::try_from(Map::Array(open("clock")?))?,
            v4: HashMap::try_from(Map::HashMap(open("flows4")?))?,
            v6: HashMap::try_from(Map::HashMap(open("flows6")?))?,
            events: PerCpuArray::try_from(Map::PerCpuArray(open("events")?))?,
        })
    }

    /// How many changes nobody was told of, because the ring was full.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn untold(&self) -> anyhow::Result<u64> {
        let each = self.events.get(&(Event::Untold as u32), 0);
        Ok(each.context("reading the counters of events")?.iter().sum())
    }

    /// The entry that a record is about, as it is now; nothing if there is none, or it has ended.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn find(&self, wanted: &Record) -> anyhow::Result<Option<Record>> {
        let now = self
            .clock
            .get(&0, 0)
            .context("reading the clock of flows")?;
        let now = now.moment.now();
        if wanted.has(Record::IPV6) {
            find::<V6>(&self.v6, wanted, now)
        } else {
            find::<V4>(&self.v4, wanted, now)
        }
    }
}

fn find<F: Family>(
    table: &HashMap<MapData, FlowKey<F::Address>, Flow<F::Address>>,
    wanted: &Record,
    now: u32,
) -> anyhow::Result<Option<Record>>
where
    FlowKey<F::Address>: Pod,
    Flow<F::Address>: Pod,
{
    let mut key = FlowKey::empty::<F>();
    wanted.key_to::<F>(&mut key);
    let flow = match table.get(&key, 0) {
        Ok(flow) => flow,
        Err(MapError::KeyNotFound) => return Ok(None),
        Err(error) => return Err(error).context("reading a flow"),
    };
    let is_over =
        flow.state == State::REPLY || flow.state == State::RETIRED || flow.is_expired(now);
    if is_over {
        return Ok(None);
    }
    let mut record = Record::zeroed();
    record.fill::<F>(&key, &flow, now, 0);
    Ok(Some(record))
}
