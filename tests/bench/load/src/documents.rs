//! What is sent: bytes that mean nothing, and accounts in JSON that look as accounts do.

use std::fmt::{self, Write};

/// Numbers that look random and are the same in each run (xorshift).
pub struct Numbers(u64);

const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;

impl Default for Numbers {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Numbers {
    /// Other ones for each `series`.
    pub fn of(series: u64) -> Self {
        Self(FIRST.wrapping_mul(2 * series + 1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn account(&mut self) -> u64 {
        self.below(900_000) + 100_000
    }

    /// As it stands in JSON.
    fn label(&mut self) -> &'static str {
        LABELS[self.below(6) as usize]
    }

    /// Euros and cents.
    fn amount(&mut self) -> String {
        let cents = self.below(10_000_000);
        format!("{}.{:02}", cents / 100, cents % 100)
    }
}

pub fn bytes(length: usize) -> Vec<u8> {
    let mut numbers = Numbers::default();
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| numbers.next().to_le_bytes()).take(length / 8 + 1).flatten().collect();
    bytes.truncate(length);
    bytes
}

const LABELS: [&str; 6] = [
    "Banque Société Générale",
    "Clients – ventes de biens",
    "Fournisseurs d'immobilisations",
    "État, TVA déductible",
    "Achats \\\"marchandises\\\" / négoce",
    "Rémunération du personnel",
];

/// A company's accounts of one year: one well-formed document of about `length` bytes.
pub fn accounts(length: usize) -> Vec<u8> {
    let head = "\"societe\": \"Ateliers Céramique & Fils\", \"annee\": 2024, \"comptes\"";
    list(length, head, |text, numbers| {
        let (account, label) = (numbers.account(), numbers.label());
        let (debit, credit) = (numbers.amount(), numbers.amount());
        let (letter, line) = (account.is_multiple_of(2), numbers.below(100_000));
        write!(
            text,
            "{{\"numero\": \"{account}\", \"libelle\": \"{label}\", \"debit\": {debit}, \"credit\": {credit}, \
             \"lettre\": {letter}, \"journal\": {{\"code\": \"AC\", \"ligne\": {line}, \"taux\": 1.5e-3}}, \"piece\": null}}"
        )
    })
}

/// The same as `comptes.schema.json` of the `json-schema` plugin wants it: every member of an account is in the schema.
pub fn comptes(length: usize) -> Vec<u8> {
    list(length, "\"annee\": 2024, \"comptes\"", |text, numbers| {
        let (account, label) = (numbers.account(), numbers.label());
        let (balance, debit, credit) = (numbers.amount(), numbers.amount(), numbers.amount());
        write!(
            text,
            "{{\"numero\": \"{account}\", \"libelle\": \"{label}\", \"solde\": {balance}, \"debit\": {debit}, \"credit\": {credit}}}"
        )
    })
}

/// Entries of a journal, as `ecritures.schema.json` of the same plugin wants them: each with two patterns to match, or three.
pub fn ecritures(length: usize) -> Vec<u8> {
    let head = "\"societe\": \"Ateliers Céramique & Fils\", \"exercice\": 2024, \"devise\": \"EUR\", \"ecritures\"";
    list(length, head, |text, numbers| {
        let (number, account, label) = (numbers.below(1_000_000), numbers.account(), numbers.label());
        let (month, day) = (numbers.below(12) + 1, numbers.below(28) + 1);
        let (debit, credit) = (numbers.amount(), numbers.amount());
        let third = match number.is_multiple_of(2) {
            true => format!(
                ", \"tiers\": {{\"nom\": \"{label}\", \"siret\": \"{:014}\"}}",
                numbers.below(100_000_000_000_000)
            ),
            false => String::new(),
        };
        write!(
            text,
            "{{\"numero\": {number}, \"date\": \"2024-{month:02}-{day:02}\", \"compte\": \"{account}\", \"libelle\": \"{label}\", \
             \"piece\": \"FA-{number}\", \"debit\": {debit}, \"credit\": {credit}, \"lettrage\": null{third}}}"
        )
    })
}

/// A document whose last member is a list, of about `length` bytes.
fn list(length: usize, head: &str, mut entry: impl FnMut(&mut String, &mut Numbers) -> fmt::Result) -> Vec<u8> {
    let mut numbers = Numbers::default();
    let mut text = String::with_capacity(length + 512);
    text.push('{');
    text.push_str(head);
    text.push_str(": [\n");
    let mut first = true;
    while text.len() + 260 < length || first {
        text.push_str(if std::mem::take(&mut first) { "  " } else { ",\n  " });
        // Writing to a string cannot fail.
        let _ = entry(&mut text, &mut numbers);
    }
    text.push_str("\n]}\n");
    text.into_bytes()
}
