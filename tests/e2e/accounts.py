"""Accounts of companies as JSON, as large as they are wanted, the same for the same seed."""

import json
import random
from datetime import date, timedelta

ACCOUNTS = [
    ("101000", "Capital"),
    ("164000", "Emprunts auprès des établissements de crédit"),
    ("401100", "Fournisseurs – achats de biens"),
    ("411000", "Clients"),
    ("445660", "TVA déductible"),
    ("512000", "Banque"),
    ("606400", "Fournitures administratives"),
    ("641000", "Rémunérations du personnel"),
    ("701000", "Ventes de produits finis"),
]


def entry(generator, number, year):
    account, label = generator.choice(ACCOUNTS)
    day = date(year, 1, 1) + timedelta(days=generator.randrange(365))
    cents = generator.randrange(1, 5_000_000)
    debit = generator.random() < 0.5
    return {
        "numero": number,
        "date": day.isoformat(),
        "compte": account,
        "libelle": label,
        "piece": f"F{year}-{generator.randrange(100_000):05d}",
        "debit": cents / 100 if debit else 0,
        "credit": 0 if debit else cents / 100,
        "lettrage": generator.choice([None, "AA", "AB"]),
        "tiers": {"nom": "Société d'Œuvre & Fils « Été »", "siret": f"{generator.randrange(10**14):014d}"},
    }


def statement(company, year, size, seed=0):
    """A document of at least `size` bytes, in UTF-8."""
    generator = random.Random(f"{company}/{year}/{seed}")
    # Entries are repeated past the first thousand: making them takes longer than all that is tested.
    block = [json.dumps(entry(generator, number, year), ensure_ascii=False) for number in range(1000)]
    head = json.dumps({"societe": company, "exercice": year, "devise": "EUR"}, ensure_ascii=False)
    pieces, length = [], len(head.encode()) + 20
    while length < size or not pieces:
        piece = block[len(pieces) % len(block)]
        pieces.append(piece)
        length += len(piece.encode()) + 2
    return f'{head[:-1]}, "ecritures": [{", ".join(pieces)}]}}'.encode()
