//! What the demo's shop sells, and what is ordered of it: a pure function of the seed and the number of orders.

use std::collections::BTreeMap;

use txn::core::{
    id::{CustomerId, LocationId, Sku},
    inventory::{Demand, Item},
    money::{Currency, Money},
    order::NewLine,
    quantity::Quantity,
};

use super::{
    Request,
    random::Random,
    stories::{self, Story, Then},
};

/// What everything costs money in.
pub(super) const CURRENCY: Currency = Currency::GBP;
/// The item that there is too little of.
pub(super) const LIMITED: &str = "signed-print";

const MATERIALS: [&str; 4] = ["brass", "linen", "oak", "stone"];
const THINGS: [&str; 6] = ["bowl", "chair", "clock", "lamp", "tray", "vase"];

/// Lines of an order, at most.
const LINES_MAX: u64 = 4;
/// Units of a line, at most.
const UNITS_MAX: u64 = 4;

/// An order to be.
pub(super) struct Planned {
    pub(super) customer: CustomerId,
    pub(super) lines: Vec<NewLine>,
    pub(super) story: Story,
    /// How many units of its first line come back, if its story says so: fewer than it has.
    pub(super) sent_back: Quantity,
}

/// Everything that will happen.
pub(super) struct Plan {
    pub(super) location: LocationId,
    pub(super) opening: Vec<Demand>,
    pub(super) orders: Vec<Planned>,
}

impl Plan {
    pub(super) fn of(request: Request) -> Result<Self, Box<dyn std::error::Error>> {
        let mut random = Random::new(request.seed());
        let catalogue = catalogue(&mut random)?;
        let limited = (Sku::new(LIMITED)?, price(&mut random));
        let mut deck = Vec::new();
        let mut orders = Vec::new();
        for _ in 0..request.orders() {
            if deck.is_empty() {
                deck = stories::deck();
                random.shuffle(&mut deck);
            }
            let story = deck.pop().expect("a deck has cards");
            let customer = CustomerId::new(format!("customer-{}", random.below(request.orders())))?;
            let lines = match story {
                // Each wants the same, so that it does not matter who is served.
                Story::WantsLimited => vec![line(&limited, 1)?],
                _ => basket(&mut random, &catalogue, story)?,
            };
            let first = lines.first().map_or(1, |line| line.quantity.get());
            let sent_back = Quantity::new(random.below(first.saturating_sub(1)).saturating_add(1))?;
            orders.push(Planned { customer, lines, story, sent_back });
        }
        let location = LocationId::new("main")?;
        Ok(Self { opening: opening(&orders, &location)?, location, orders })
    }
}

type Offer = (Sku, Money);

fn price(random: &mut Random) -> Money {
    Money::from_minor(random.below(7_751).saturating_add(250).into(), CURRENCY)
}

fn catalogue(random: &mut Random) -> Result<Vec<Offer>, Box<dyn std::error::Error>> {
    let names = MATERIALS.iter().flat_map(|material| THINGS.iter().map(move |thing| format!("{material}-{thing}")));
    names.map(|name| Ok((Sku::new(name)?, price(random)))).collect()
}

fn line((sku, price): &Offer, units: u64) -> Result<NewLine, Box<dyn std::error::Error>> {
    Ok(NewLine { sku: sku.clone(), quantity: Quantity::new(units)?, price: *price })
}

fn basket(random: &mut Random, offers: &[Offer], story: Story) -> Result<Vec<NewLine>, Box<dyn std::error::Error>> {
    let is_sent_back = matches!(story, Story::Buys { then: Then::SendsBack(_), .. });
    let lines = random.below(LINES_MAX).saturating_add(1);
    let basket = (0..lines).map(|number| {
        // Of what comes back something is kept.
        let least = if is_sent_back && number == 0 { 2 } else { 1 };
        let units = random.below(UNITS_MAX).saturating_add(least);
        line(offers.get(random.index(offers.len())).ok_or("the catalogue is empty")?, units)
    });
    basket.collect()
}

/// Stock for everyone, whoever comes first; but of the limited item for two in five only.
fn opening(orders: &[Planned], location: &LocationId) -> Result<Vec<Demand>, Box<dyn std::error::Error>> {
    let mut wanted: BTreeMap<&Sku, u64> = BTreeMap::new();
    for line in orders.iter().flat_map(|order| &order.lines) {
        let sum = wanted.entry(&line.sku).or_default();
        *sum = sum.saturating_add(line.quantity.get());
    }
    let demand = |(sku, wanted): (&Sku, u64)| {
        let is_limited = sku.as_str() == LIMITED;
        let units = if is_limited { wanted.saturating_mul(2).div_ceil(5) } else { wanted };
        let item = Item { sku: sku.clone(), location: location.clone() };
        Ok(Demand { item, quantity: Quantity::new(units)? })
    };
    wanted.into_iter().map(demand).collect()
}
