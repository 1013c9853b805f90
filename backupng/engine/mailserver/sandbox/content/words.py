"""The words of the seeded content: short sentences of an office in three languages.

All people are invented; all of them live in example domains. Names of folders, tags and documents
keep to what the real server takes: no characters above U+FFFF; in folders no slash inside a name,
no colon, no double quote; in tags no colon and no backslash.
"""

from __future__ import annotations

from dataclasses import dataclass

from backupng.engine.model import ItemKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """Words of one language; sentences and subjects have slots {thing} {day} {number} {place}."""

    greetings: tuple[str, ...]
    closings: tuple[str, ...]
    wrote: str
    reply: str
    subjects: tuple[str, ...]
    sentences: tuple[str, ...]
    things: tuple[str, ...]
    days: tuple[str, ...]
    places: tuple[str, ...]
    chats: tuple[str, ...]
    notes: tuple[str, ...]
    folders: tuple[str, ...]
    tags: tuple[str, ...]


ITALIAN = Language(
    greetings=("Buongiorno {name},", "Ciao {name},", "Gentile {name},", "Salve,"),
    closings=("Cordiali saluti", "A presto", "Grazie mille", "Buona giornata"),
    wrote="Il {date} {name} ha scritto:",
    reply="R: ",
    subjects=(
        "Ordine n. {number}: {thing}",
        "Riunione di {day} — {place}",
        "{thing}: perché è così?",
        "Fattura {number}/2026",
        "Più caffè per tutti ☕",
        "Città, età, qualità: {thing}",
        'Il "progetto {number}" è finito',
        "Percorso C:\\dati\\{number}",
    ),
    sentences=(
        "Le mando {thing} come d'accordo.",
        "La consegna è prevista per {day}.",
        "Può confermare entro {day}?",
        "Abbiamo contato {number} pezzi, ne mancano due.",
        "Ci vediamo {day} in {place}.",
        "Il preventivo per {thing} non è ancora arrivato.",
        "Ho già parlato con il magazzino: tutto a posto.",
        "Perché non ne discutiamo con calma?",
        "Il totale è di {number} €, IVA esclusa.",
        "Resto a disposizione per qualsiasi domanda.",
        "Chi porta {thing} {day}?",
        "Così va bene, non cambiamo più nulla.",
    ),
    things=("il catalogo", "la bozza", "l'elenco", "il campione", "la chiave del portone"),
    days=("lunedì", "martedì", "mercoledì", "giovedì", "venerdì"),
    places=("Sala Riunioni", "Città di Prova", "Bar dell'Esempio"),
    chats=("Ci sei?", "Arrivo fra cinque minuti", "Perfetto, grazie 👍", "È già chiuso?"),
    notes=("Comprare il latte", "Password del Wi-Fi: chiedere a Ugo", "Idee per la fiera è più"),
    folders=(
        "/Inbox/Clienti",
        "/Inbox/Clienti/Città di prova",
        "/Inbox/Clienti/Città di prova/Perché no",
        "/Fatture",
        "/Fatture/2026",
        "/Fatture/2026/Già pagate",
        "/L'angolo dell'università",
    ),
    tags=("Urgente", "Da fare è più", "Cliente «VIP»"),
)

ENGLISH = Language(
    greetings=("Dear {name},", "Hello {name},", "Hi,", "Good morning {name},"),
    closings=("Kind regards", "Thanks", "Best wishes", "See you"),
    wrote="On {date}, {name} wrote:",
    reply="Re: ",
    subjects=(
        "Order {number}: {thing}",
        "Meeting on {day} in the {place}",
        "[office] {thing} is missing again",
        "Invoice {number}",
        "Lunch on {day}? 🍕🥗",
        "Naïve question about the façade",
        'The so-called "final" version of {thing}',
        "100 % done; what's next?",
    ),
    sentences=(
        "Please find {thing} attached.",
        "We will deliver on {day}.",
        "Could you check the {number} entries before {day}?",
        "I left {thing} in the {place}.",
        "The printer counts to {number} and stops.",
        "Nobody has seen {thing} since {day}.",
        "Let us keep it short.",
        "The price is {number} €, or less for two.",
        "I will call you on {day}.",
        "That was the wrong list; this is the right one.",
        "If it rains, we meet in the {place}.",
        "Everything else can wait.",
    ),
    things=("the catalogue", "a draft", "the list", "the spare key", "a box of samples"),
    days=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    places=("meeting room", "café", "warehouse"),
    chats=("Are you there?", "Be right back", "Perfect 👍", "Who has the key?"),
    notes=("Buy milk", "Ask about the façade", "Return the key on Friday"),
    folders=(
        "/Inbox/Customers",
        "/Inbox/Customers/Café & Sons",
        "/Inbox/Customers/Café & Sons/Old stuff (50 %)",
        "/Invoices",
        "/Invoices/2026",
        "/Invoices/2026/Paid",
        "/What's next?",
    ),
    tags=("Urgent", "To do", "Naïve & café"),
)

GERMAN = Language(
    greetings=("Guten Tag {name},", "Hallo {name},", "Sehr geehrte Damen und Herren,"),
    closings=("Mit freundlichen Grüßen", "Viele Grüße", "Danke und bis bald"),
    wrote="Am {date} schrieb {name}:",
    reply="AW: ",
    subjects=(
        "Bestellung {number}: {thing}",
        "Besprechung am {day}, {place}",
        "Größe und Maße für {thing}",
        "Rechnung {number}/2026",
        "Öffnungszeiten über die Feiertage",
        "Rückfrage: {thing}",
        "„Übergabe“ am {day}",
        "Fußweg gesperrt; bitte außen herum",
    ),
    sentences=(
        "Anbei schicke ich Ihnen {thing}.",
        "Die Lieferung kommt am {day}.",
        "Können Sie das bis {day} prüfen?",
        "Es fehlen noch {number} Stück.",
        "Wir treffen uns am {day} im {place}.",
        "Der Schlüssel hängt neben der Tür.",
        "Für {thing} gilt der alte Preis.",
        "Das macht {number} € ohne Versand.",
        "Bitte nicht mehr ändern, es ist schon gedruckt.",
        "Größere Mengen müssen wir vorher anmelden.",
        "Außerdem brauche ich {thing} zurück.",
        "Bei Fragen melden Sie sich gern.",
    ),
    things=("den Katalog", "einen Entwurf", "die Liste", "das Muster", "den Zweitschlüssel"),
    days=("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag"),
    places=("Besprechungsraum", "Café", "Lager"),
    chats=("Bist du da?", "Komme gleich", "Super, danke 👍", "Wer hat den Schlüssel?"),
    notes=("Milch kaufen", "Schlüssel zurückgeben", "Bücher für Frau Muster"),
    folders=(
        "/Inbox/Kunden",
        "/Inbox/Kunden/Müller & Söhne",
        "/Inbox/Kunden/Müller & Söhne/Übergrößen",
        "/Rechnungen",
        "/Rechnungen/2026",
        "/Rechnungen/2026/März bezahlt",
        "/Straße, Nr. 7",
    ),
    tags=("Wichtig", "Für später", "Größe prüfen"),
)

LANGUAGES = (ITALIAN, ENGLISH, GERMAN)

SHARED_FOLDERS: tuple[tuple[str, ItemKind | None, int], ...] = (
    ("/出張 2026", ItemKind.MESSAGE, 4),
    ("/出張 2026/領収書", ItemKind.MESSAGE, 0),
    ("/מסמכים ישנים", ItemKind.MESSAGE, 7),
    ("/أرشيف", ItemKind.MESSAGE, 0),
    ("/back\\slash", ItemKind.MESSAGE, 0x01FF8000),
    ("/Ideen ☕ ✓", None, 6),
    ("/Vereinskontakte", ItemKind.CONTACT, 3),
    ("/Team", ItemKind.APPOINTMENT, 5),
    ("/Tasks/Später", ItemKind.TASK, 0),
    ("/Briefcase/Verträge", ItemKind.DOCUMENT, 1),
    ("/Briefcase/Verträge/2026 è", ItemKind.DOCUMENT, 0),
    ("/Notizen", ItemKind.NOTE, 0),
)
"""Folders that every account has, whatever its language: path, what it shows, colour."""

SHARED_TAGS = ("重要", "דחוף", "R&D", "50 % fertig ✓")

RARE_SUBJECTS = (
    "会議のお知らせ {number}",
    "פגישה ביום {day}",
    "مرحبا {number}",
    "Ελληνικά και English {number}",
    "😀🎉 {number}",
    "a\tb   c {number}",
    "x" * 300 + " {number}",
    "",
)
RARE_SENTENCES = (
    "三月の資料を送ります。",
    "שלום לכולם, נתראה ביום שני.",
    "مرحبا بكم في المكتب.",
    "Καλημέρα σας.",
    "日本語とEnglishとItaliano, 全部 🎌.",
)

FIRST_NAMES = (
    *("Ada", "Ugo", "Zoë", "Björn", "Chloé", "Nils", "Inés", "Otto", "Mira", "Łucja"),
    *("Señor", "Anne-Marie", "D'Arco", "Jürgen", "Søren", "花子", "דנה", "Ömer"),
)
LAST_NAMES = (
    *("Esempi", "Muster", "Sample", "Beispiel", "Provetti", "Testmann", "Òmnibus", "Größing"),
    *("O'Sample", "van der Probe", "Prøvesen", "Näytte", "見本", "Campioni", "Fiktiv-Doppel"),
)
DOMAINS = (
    *("example.com", "example.net", "example.org"),
    *("esempio.example", "muster.example", "sample.example"),
)
COMPANIES = (
    *("Esempio SpA", "Muster & Söhne GmbH", "Sample Ltd.", "見本 商事", 'Ditta "Prova"; Figli'),
    *("Rauchzeichen KG, Abt. 7", "Fiktiv\\Ablage OHG"),
)
FILE_STEMS = (
    *("Katalog 2026", "Preisliste Größen", "relazione finale è", "O'Brien's list", "見積書"),
    *("Fattura già pagata", "photo 100%", "מחירון", "Vertrag & Anlage", "résumé (1)", "plan"),
)
SEARCHES = (
    ("Non letti ✓", "is:unread is:flagged"),
    ("Große Anhänge", "larger:50kb"),
    ("重要 & neu", 'tag:"重要" after:-30d'),
)
