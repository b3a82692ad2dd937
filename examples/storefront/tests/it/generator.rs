//! Invoice files from a seed, with every wart a real one has: the same seed is the same file.
//!
//! Invoices that others interrupt, one code on several lines, cancellations that name no original, that take back more than
//! was sold or stand between the lines of their order, missing customers, adjustments, quantities and prices of zero or
//! less, fractions of a penny, zeros at the end of a price, quotes, commas and line breaks in values, bytes that are no
//! UTF-8, and names that differ by case, a space or a leading zero alone.

use std::fmt::Write as _;

const STOCK_CODES: [&[u8]; 12] = [
    b"85123A",
    b"85123a",
    b"85123A ",
    b"085123",
    b"85123",
    b"POST",
    b"BANK CHARGES",
    b"A,B",
    b"4\"X4\"",
    b"CAF\xc3\x89",
    b"CAF\xc9",
    b"",
];
const CUSTOMERS: [&str; 8] = ["17850", "17850 ", "017850", "13047", "x13047", "X13047", "", ""];
const DESCRIPTIONS: [&[u8]; 6] =
    [b"T-LIGHT HOLDER", b"BOX, \"RETRO\" SPOT", b"two\nlines", b"two\r\nlines,\n\n", b"\xa3 1 each", b""];
const SALE_PRICES: [&str; 9] = ["2.55", "0.01", "3", "4.5", "2.500", "1.25", "18.950000", "0012.10", "649.5"];
const OTHER_PRICES: [&str; 9] =
    ["0", "0.00", "-0", "-11062.06", "0.001", "2.555", "0.30000000000000004", "-0.0005", "1.0101"];
const INVOICES_THAT_SELL_NOTHING: [&str; 8] =
    ["A563185", "a1", "c1", "", "53 6365", "536365-1", "+536365", "\u{665}\u{663}"];

/// A file of about `invoices` invoices, uncompressed.
pub(crate) fn generate(seed: u64, invoices: u64) -> Vec<u8> {
    let mut file = Generator {
        random: Random(seed),
        bytes: Vec::new(),
        second: 1_000,
        invoice: 536_365,
        open: Vec::new(),
        layout: Layout::Published,
        line_break: b"\n",
    };
    file.run(invoices);
    file.bytes
}

struct Generator {
    random: Random,
    bytes: Vec<u8>,
    second: u64,
    invoice: u64,
    open: Vec<Invoice>,
    layout: Layout,
    line_break: &'static [u8],
}

#[derive(Clone)]
struct Invoice {
    number: String,
    customer: &'static str,
    lines_left: u64,
}

#[derive(Clone, Copy)]
enum Layout {
    /// The columns of the published file.
    Published,
    /// In another order, with columns nobody asked for.
    Shuffled,
}

impl Generator {
    fn run(&mut self, invoices: u64) {
        self.head();
        for _ in 0..invoices {
            let invoice = self.invoice();
            self.open.push(invoice);
            // With several open at once, their lines interrupt each other.
            while self.open.len() > 2 || (!self.open.is_empty() && self.random.one_in(2)) {
                let chosen = self.random.below(self.open.len());
                self.line(chosen);
            }
        }
        while !self.open.is_empty() {
            self.line(0);
        }
        if self.random.one_in(4) {
            let length = self.bytes.len() - self.line_break.len();
            self.bytes.truncate(length);
        }
    }

    fn head(&mut self) {
        if self.random.one_in(4) {
            self.line_break = b"\r\n";
        }
        if self.random.one_in(4) {
            self.bytes.extend(b"\xef\xbb\xbf");
        }
        let header: &[u8] = if self.random.one_in(4) {
            self.layout = Layout::Shuffled;
            b"UnitPrice,Note,Quantity,CustomerID,Note,InvoiceDate,StockCode,InvoiceNo,Country,Description"
        } else {
            b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
        };
        self.bytes.extend(header);
        self.bytes.extend(self.line_break);
    }

    fn invoice(&mut self) -> Invoice {
        self.invoice += 1;
        let number = match self.random.below(10) {
            0..5 => self.invoice.to_string(),
            5 => format!("0{}", self.invoice - 1),
            6 => (*self.random.choose(&INVOICES_THAT_SELL_NOTHING)).to_owned(),
            _ => format!("C{}", self.invoice),
        };
        let customer = *self.random.choose(&CUSTOMERS);
        let lines_left = 1 + self.random.below(6) as u64;
        Invoice { number, customer, lines_left }
    }

    fn line(&mut self, chosen: usize) {
        let mut invoice = self.open[chosen].clone();
        if self.random.one_in(40) {
            // The real file has one customer on an invoice; the rule does not ask for it.
            invoice.customer = *self.random.choose(&CUSTOMERS);
        }
        self.row(&invoice);
        self.open[chosen].lines_left -= 1;
        if self.open[chosen].lines_left == 0 {
            self.open.swap_remove(chosen);
        }
    }

    fn row(&mut self, invoice: &Invoice) {
        let quantity = match invoice.number.starts_with('C') {
            true => -self.random.between(1, 20),
            false if self.random.one_in(12) => -self.random.between(0, 5),
            false => self.random.between(1, 24),
        };
        let price = match self.random.one_in(8) {
            true => *self.random.choose(&OTHER_PRICES),
            false => *self.random.choose(&SALE_PRICES),
        };
        let stock_code = *self.random.choose(&STOCK_CODES);
        let description = *self.random.choose(&DESCRIPTIONS);
        let (number, customer) = (invoice.number.as_bytes(), invoice.customer.as_bytes());
        let (quantity, time) = (quantity.to_string(), self.time());
        let (quantity, time, price) = (quantity.as_bytes(), time.as_bytes(), price.as_bytes());
        match self.layout {
            Layout::Published => {
                self.record(&[number, stock_code, description, quantity, time, price, customer, b"United Kingdom"])
            }
            Layout::Shuffled => {
                self.record(&[price, b"", quantity, customer, b"\xff", time, stock_code, number, b"EIRE", description])
            }
        }
    }

    fn record(&mut self, fields: &[&[u8]]) {
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                self.bytes.push(b',');
            }
            let needs_quotes = field.iter().any(|byte| b",\"\r\n".contains(byte));
            if needs_quotes || self.random.one_in(20) {
                self.bytes.push(b'"');
                for byte in *field {
                    let doubled = if *byte == b'"' { 2 } else { 1 };
                    self.bytes.extend(std::iter::repeat_n(byte, doubled));
                }
                self.bytes.push(b'"');
            } else {
                self.bytes.extend(*field);
            }
        }
        self.bytes.extend(self.line_break);
    }

    /// Mostly onward, over the end of a leap February.
    fn time(&mut self) -> String {
        self.second += self.random.below(90) as u64;
        let (minutes, second) = (self.second / 60, self.second % 60);
        let (hours, minute) = (minutes / 60, minutes % 60);
        let (days, hour) = (hours / 24, hours % 24);
        let (month, day) = if days < 2 { (2, 28 + days) } else { (3, days % 31 + 1) };
        let mut text = String::new();
        write!(text, "2012-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z").unwrap();
        text
    }
}

/// `SplitMix64`: Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators, 2014.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub(crate) fn between(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.next() % to.abs_diff(from).saturating_add(1)).unwrap()
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
