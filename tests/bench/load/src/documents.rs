//! What is sent: bytes that mean nothing, and accounts in JSON that look as accounts do.

use std::fmt::Write;

/// Numbers that look random and are the same in each run (xorshift).
pub struct Numbers(u64);

impl Default for Numbers {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

pub fn bytes(length: usize) -> Vec<u8> {
    let mut numbers = Numbers::default();
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| numbers.next().to_le_bytes()).take(length / 8 + 1).flatten().collect();
    bytes.truncate(length);
    bytes
}

/// A company's accounts of one year: one well-formed document of about `length` bytes.
pub fn accounts(length: usize) -> Vec<u8> {
    const LABELS: [&str; 6] = [
        "Banque Société Générale",
        "Clients – ventes de biens",
        "Fournisseurs d'immobilisations",
        "État, TVA déductible",
        "Achats \\\"marchandises\\\" / négoce",
        "Rémunération du personnel",
    ];
    let mut numbers = Numbers::default();
    let mut text = String::with_capacity(length + 512);
    text.push_str("{\"societe\": \"Ateliers Céramique & Fils\", \"annee\": 2024, \"comptes\": [\n");
    let mut first = true;
    while text.len() + 260 < length || first {
        let separator = if std::mem::take(&mut first) { "" } else { ",\n" };
        let (account, label) = (numbers.next() % 900_000 + 100_000, LABELS[(numbers.next() % 6) as usize]);
        let (debit, credit) = (numbers.next() % 10_000_000, numbers.next() % 10_000_000);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{separator}  {{\"numero\": \"{account}\", \"libelle\": \"{label}\", \"debit\": {}.{:02}, \"credit\": {}.{:02}, \
             \"lettre\": {}, \"journal\": {{\"code\": \"AC\", \"ligne\": {}, \"taux\": 1.5e-3}}, \"piece\": null}}",
            debit / 100,
            debit % 100,
            credit / 100,
            credit % 100,
            account.is_multiple_of(2),
            numbers.next() % 100_000,
        );
    }
    text.push_str("\n]}\n");
    text.into_bytes()
}
