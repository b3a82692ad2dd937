//! A demo for people.

use std::fmt::Display;

use super::{Demo, Totals};
use crate::totals::Amounts;

/// The report: sections of a name, a number and a remark.
#[must_use]
pub fn text(demo: &Demo) -> String {
    let mut page =
        Page(vec![format!("{} orders side by side, in a tenant of their own: {}", demo.totals.placed, demo.tenant)]);
    orders(&mut page, &demo.totals);
    after_sale(&mut page, &demo.totals);
    books(&mut page, &demo.totals);
    page.section("store");
    page.row("commits", demo.totals.commits, "of this tenant");
    let audit = if demo.totals.violations == 0 { "no violations" } else { "run: storefront verify" };
    page.row("violations", demo.totals.violations, &format!("audit of the whole store: {audit}"));
    page.0.push(String::new());
    page.0.push(if demo.replayed {
        "Nothing was committed: this demo had been run before, and every answer was already there.".into()
    } else {
        format!("{} s, {} orders a second", demo.seconds, demo.orders_per_second)
    });
    page.0.join("\n")
}

fn orders(page: &mut Page, totals: &Totals) {
    page.section("orders");
    page.row("placed", totals.placed, &money(&totals.money.ordered));
    page.row("paid", totals.paid, &format!("{}, {} delivered", money(&totals.money.captured), totals.completed));
    let cancelled = &totals.cancelled;
    page.row("called off before paying", cancelled.before_payment, "their stock was given back");
    page.row("called off when authorised", cancelled.voided, "voided at the gateway");
    page.row("called off after declines", cancelled.after_decline, "declined at every attempt");
    page.row("called off, sold out", cancelled.sold_out, "see below");
    page.row("expired", totals.expired, &format!("not paid in time; {} holds ran out before", totals.holds_expired));

    page.section("payments");
    page.row("declined, then paid", totals.declined.then_paid, "at the next attempt");
    let lost = &totals.lost_answers;
    page.row("answer lost", lost.done, "the gateway was asked: it had been done, and was not done twice");
    page.row("request lost", lost.not_executed, "the gateway was asked: it had not been done, and was done then");

    page.section(&format!("sold out: {}", totals.limited.item));
    page.row("wanted", totals.limited.wanted, "units");
    page.row("sold", totals.limited.sold, &format!("{} left", totals.limited.left));
    page.row("refused", totals.limited.refused, "their orders were called off");
}

fn after_sale(page: &mut Page, totals: &Totals) {
    page.section("after the sale");
    let returned = &totals.returned;
    page.row("returns", returned.returns, &money(&returned.refunded));
    page.row("units", returned.units, &format!("{} of them damaged, the others for sale again", returned.damaged));
    let refunds = &totals.refunds;
    let remark = format!("{}; {} declined at first", money(&refunds.refunded), refunds.failed);
    page.row("compensations", refunds.done, &remark);
}

fn books(page: &mut Page, totals: &Totals) {
    page.section("money");
    let booked = &totals.money;
    page.row("captured", money(&booked.captured), "");
    page.row("refunded", money(&booked.refunded), "for returns and compensations");
    page.row("ledger debits", money(&booked.debits), "captured and refunded");
    let remark = if booked.debits == booked.credits { "equal" } else { "NOT EQUAL" };
    page.row("ledger credits", money(&booked.credits), remark);
    page.row("pending", money(&booked.pending), "");

    page.section("stock");
    page.row("on hand", totals.stock.on_hand, "units");
    page.row("reserved", totals.stock.reserved, "");
    page.row("damaged", totals.stock.damaged, "on hand, not for sale");
}

fn money(amounts: &Amounts) -> String {
    let texts: Vec<String> = amounts.iter().map(|(currency, amount)| format!("{amount} {currency}")).collect();
    texts.join(", ")
}

struct Page(Vec<String>);

impl Page {
    fn section(&mut self, title: &str) {
        self.0.push(String::new());
        self.0.push(title.into());
    }

    fn row(&mut self, name: &str, value: impl Display, remark: &str) {
        let line = format!("  {name:<28}{:>16}  {remark}", value.to_string());
        self.0.push(line.trim_end().into());
    }
}
