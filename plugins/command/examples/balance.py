#!/usr/bin/env python3
"""A check of accounts: do they balance, to the cent?

    command = ["/usr/bin/python3", "{base}/balance.py"]

Of a document with `ecritures` all debits together have to be as much as all credits; of one with `comptes` each balance has to be its
debit less its credit. Whatever is no amount in whole cents is an issue of its own.
"""

import json
import sys
from decimal import Context, Decimal, Inexact

MOST_ISSUES = 100
LARGEST = Decimal(10) ** 15
CENT = Decimal("0.01")
EXACT = Context(prec=30, traps=[Inexact])


class Check:
    def __init__(self):
        self.issues = []

    def says(self, path, code, message):
        if len(self.issues) < MOST_ISSUES:
            self.issues.append({"path": path, "code": code, "message": message})

    def cents(self, entry, name, path):
        """An amount of an entry in cents; none is nothing. Numbers are never floats on the way."""
        amount = entry.get(name, Decimal(0))
        if not isinstance(amount, Decimal) or amount.copy_abs() >= LARGEST:
            self.says(f"{path}/{name}", "no-amount", f"`{name}` is not an amount of money")
            return 0
        try:
            return int(amount.quantize(CENT, context=EXACT).scaleb(2))
        except Inexact:
            self.says(f"{path}/{name}", "part-of-a-cent", f"`{name}` is {str(amount)[:40]}, which is not in whole cents")
            return 0

    def entries(self, entries):
        debit = credit = 0
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict):
                self.says(f"/ecritures/{number}", "no-entry", "an entry is an object")
                continue
            debit += self.cents(entry, "debit", f"/ecritures/{number}")
            credit += self.cents(entry, "credit", f"/ecritures/{number}")
        if debit != credit and not self.issues:
            message = f"debits are {euros(debit)} and credits {euros(credit)}: {euros(abs(debit - credit))} apart"
            self.says("/ecritures", "unbalanced", message)

    def accounts(self, accounts):
        for number, account in enumerate(accounts):
            if not isinstance(account, dict) or not {"solde", "debit", "credit"} <= account.keys():
                continue
            path = f"/comptes/{number}"
            expected = self.cents(account, "debit", path) - self.cents(account, "credit", path)
            balance = self.cents(account, "solde", path)
            if balance != expected:
                message = f"the balance is {euros(balance)}, and debit less credit is {euros(expected)}"
                self.says(f"{path}/solde", "unbalanced", message)


def euros(cents):
    return f"{Decimal(cents) / 100:.2f}"


def main():
    path = json.load(sys.stdin)["path"]
    check = Check()
    try:
        with open(path, encoding="utf-8") as file:
            # To an int a number of a million digits takes long, and a float is none of money.
            document = json.load(file, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        check.says("", "not-json", "the file is not JSON that can be read")
    else:
        parts = document if isinstance(document, dict) else {}
        entries, accounts = parts.get("ecritures"), parts.get("comptes")
        if isinstance(entries, list):
            check.entries(entries)
        elif isinstance(accounts, list):
            check.accounts(accounts)
        else:
            check.says("", "no-accounts", "the document has neither `ecritures` nor `comptes`")
    if check.issues:
        json.dump({"reject": check.issues}, sys.stdout)


main()
