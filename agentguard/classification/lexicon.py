# SPDX-License-Identifier: Apache-2.0
"""Plain English for the provenance stage: which words ask for which operation on which object.

Words only: no phrase, tag or name of any attack, tool or data set. A group holds words that a
person may use for one another when asking for something; their inflected forms are made here once.
"""

from __future__ import annotations

from typing import Final


def _set(*words: str) -> frozenset[str]:
    return frozenset(" ".join(words).split())


# The first four words of a group are its own: a tool named by one of them belongs to the group.
_OPERATIONS: Final = {
    "read": (
        "read get list search find show view fetch look check retrieve query browse visit open see"
        " summarize summarise tell know what which who how when where give display load compare"
        " count review verify examine inspect obtain provide lookup identify determine describe"
        " explain analyze analyse scan discover calculate compute recommend suggest"
    ),
    "send": (
        "send message email mail text reply respond answer forward notify inform dm write contact"
        " deliver ask tell remind post share announce ping say report thank congratulate apologize"
        " alert broadcast communicate distribute"
    ),
    "post": (
        "post publish tweet upload comment announce write put share message send say reply tell ask"
        " report submit respond answer retweet broadcast"
    ),
    "share": "share grant give allow permit send invite add access authorize",
    "pay": (
        "pay transfer wire refund settle reimburse deposit buy purchase donate tip withdraw send"
        " repay remit charge spend cover owe fund top"
    ),
    "buy": "order buy purchase checkout get place acquire pay invest trade sell",
    "book": (
        "book reserve schedule plan arrange make set rent hire order need create organize organise"
        " register add appoint"
    ),
    "create": (
        "create add make generate new draft write start open build insert save record log put"
        " register store set compose prepare produce schedule book organize organise plan note form"
        " establish initiate file submit place enter design"
    ),
    "invite": "invite add join include bring enroll onboard",
    "add": (
        "add include put append insert join invite attach assign enroll create place save upload"
        " give extend"
    ),
    "delete": (
        "delete remove cancel clear drop erase discard revoke kick unsubscribe unfollow trash purge"
        " reverse retract annul nix scrap void abort withdraw abandon rescind withdrawal removal"
        " terminate undo rid leave uninstall end wipe destroy expel eject detach unlink"
        " cancellation deregister"
    ),
    "update": (
        "update change modify edit reschedule move rename set replace correct fix adjust mark"
        " switch extend increase decrease append convert toggle raise lower shift rewrite resolve"
        " complete finish amend alter swap exchange modification revise reset"
    ),
    "return": "return exchange refund replace",
    "move": "move copy rename transfer relocate put shift duplicate backup organize sort",
    "run": (
        "run execute script command launch start restart deploy install compile call invoke trigger"
        " test perform"
    ),
    "control": (
        "turn set lock unlock open close start stop enable disable activate deactivate adjust play"
        " pause press dim switch release fill drive park navigate ignite initiate fire engage power"
        " secure refuel top crank shut"
    ),
    "login": "login log sign authenticate access register connect credential",
    "follow": "follow subscribe like star watch join favorite",
    "save": "save download upload attach store keep backup export import bookmark",
    "close": "close resolve complete finish end stop shut",
}

_OBJECTS: Final = (
    "email mail inbox message letter reply",
    "message dm chat text note conversation",
    "file document doc folder report spreadsheet sheet presentation slide pdf txt directory",
    "event meeting appointment calendar schedule call lunch dinner session",
    "user person people member colleague account employee friend contact customer participant",
    "channel group room workspace team",
    (
        "money payment transaction fund bill invoice rent amount transfer pay refund dollar usd eur"
        " euro pound price cost fee deposit salary subscription balance bank iban"
    ),
    "website webpage web page site url link blog article internet www http https",
    "hotel accommodation stay lodging room",
    "restaurant table dinner lunch food meal eat cuisine",
    "car vehicle rental taxi cab ride drive",
    "flight plane fly airline ticket airport",
    "password credential login passcode pin secret",
    "order purchase item product cart package delivery",
    "post tweet status story",
    "task todo reminder list chore",
    "article news headline story",
    "ticket issue bug case",
    "code script program repo repository",
    "database table record row sql entry",
    "temperature thermostat heating climate",
    "door lock gate window trunk",
    "light lamp bulb",
    "address location street city place",
    "stock share trade investment portfolio",
    "photo picture image video",
    "song music playlist track",
    "medicine drug prescription medication",
    "doctor patient appointment health medical",
    "alarm clock timer",
    "weather forecast temperature rain",
    "review rating feedback comment",
    "permission access privilege right",
)

# what a bare verb already is about: "send it to Bob" is about a message, "pay Bob" about money
_IMPLIED: Final = {
    "send": "message email mail dm text note chat direct reply channel sms letter",
    "post": "message post tweet comment status webpage page article channel",
    "pay": "money payment transaction fund bill transfer invoice",
    "invite": "user member person participant guest",
    "book": "reservation booking appointment",
}

STOP_WORDS: Final = _set(
    "a an the of to in on at for from with by and or as is are was be been it its this that these",
    "those i me my we our us you your he she his her they their them not no do does did can could",
    "will would should may might must have has had if then than so but into out up about over",
    "all any some each other more most one two api v1 v2 v3 tool function service data info",
    "information value values given using use used via per new current specific details based",
    "please also there here what which who when where how why just only very",
)

SECOND_PERSON: Final = _set("you your yours yourself")
POLITE: Final = _set("please kindly")

# what may stand before an imperative without making the sentence a statement
LEAD_INS: Final = _set(
    "please kindly then also next first firstly second secondly third finally lastly now so and but",
    "hey hi hello ok okay note just additionally furthermore moreover",
    "otherwise instead immediately quickly always never again once afterwards after that dear",
    "reminder step action do todo task notice alert",
)

_OTHER_IMPERATIVES: Final = (
    "follow use ensure go take do provide keep bring come consider begin continue"
    " proceed stop wait try click type enter select choose pick collect gather extract concatenate"
    " combine repeat translate print output return append prepend encode decode encrypt hide"
    " disclose expose disable shut reboot schedule"
    " complete finish help let allow grant give approve accept reject decline confirm"
    " download upload forward redirect direct connect link attach apply submit request demand"
    " obtain acquire sell trade bid vote rate like subscribe unsubscribe claim redeem lend borrow"
    " increase decrease raise reduce double swap exchange convert adjust configure switch"
    " read get search find show view fetch look check retrieve query browse visit open see"
    " summarize tell display load compare count review verify examine scan"
)
IMPERATIVES: Final = _set(
    *(words for name, words in _OPERATIONS.items() if name != "read"), _OTHER_IMPERATIVES
)

# nouns as readily as verbs, so that what follows decides
_NOUNS: Final = _set(
    "message order transfer call schedule list contact email mail text post book report share file",
    "comment review rate cost charge fund trade record log alert notice query test command release",
    "store place plan form note watch star sign end access request direct link output return",
    "exchange switch vote bid claim search design reply answer look view purchase cover park copy",
    "backup script install deposit tip wire lower correct complete set bookmark favorite present",
    "permit rent hire import export top control state mark power fire credential",
)
_EITHER: Final = _NOUNS | _set(
    "use visit open check start stop help play press show buy drop lock drive fill clear change",
    "update move like close",
)
# after such a word they do not ask for anything
_NOUN_FOLLOWERS: Final = _set(
    "of from with is was are has had were details detail id number in on at and or by history name",
    "status type date time count total address info information will can may s not code",
)

_IRREGULAR: Final = {
    "send": "sent",
    "pay": "paid payment",
    "buy": "bought",
    "sell": "sold",
    "tell": "told",
    "say": "said",
    "write": "wrote written",
    "make": "made",
    "give": "gave given",
    "get": "got gotten",
    "find": "found",
    "run": "ran",
    "leave": "left",
    "bring": "brought",
    "spend": "spent",
    "person": "people",
    "know": "known knew",
    "see": "seen saw",
    "reserve": "reservation reservations",
    "book": "booking bookings",
    "invite": "invitation invitations",
    "register": "registration",
    "summarize": "summary",
    "subscribe": "subscription",
    "reply": "response",
}


def forms_of(word: str) -> tuple[str, ...]:
    """Returns a word with its regular English forms (plural, past, participle) and irregular ones."""
    forms = [word, word + "s"]
    if word.endswith("e"):
        forms += [word + "d", word[:-1] + "ing"]
    elif word.endswith("y") and word[-2:-1] not in "aeiou":
        forms += [word[:-1] + "ies", word[:-1] + "ied", word + "ing"]
    else:
        doubled = word + word[-1:]
        forms += [word + "es", word + "ed", word + "ing", doubled + "ed", doubled + "ing"]
    return (*forms, *_IRREGULAR.get(word, "").split())


def _spread(words: str) -> frozenset[str]:
    return frozenset(form for word in words.split() for form in forms_of(word))


def _groups_of(verb: str) -> tuple[str, ...]:
    own = PRIMARY_GROUPS[verb]
    return own or tuple(n for n, words in _OPERATIONS.items() if verb in words.split())[:2]


OPERATION_FORMS: Final = {name: _spread(words) for name, words in _OPERATIONS.items()}
OBJECT_FORMS: Final = tuple(_spread(words) for words in _OBJECTS)
IMPLIED_OBJECTS: Final = {name: _spread(words) for name, words in _IMPLIED.items()}
VERBS: Final = {
    form: verb
    for words in _OPERATIONS.values()
    for verb in words.split()
    for form in forms_of(verb)
}
PRIMARY_GROUPS: Final = {
    verb: tuple(name for name, words in _OPERATIONS.items() if verb in words.split()[:4])
    for verb in sorted(set(VERBS.values()))
}
GROUPS_OF_VERB: Final = {verb: _groups_of(verb) for verb in PRIMARY_GROUPS}


def is_imperative_start(word: str, follower: str, *, after_comma: bool = False) -> bool:
    """Returns whether a clause that starts with these two words asks for something.

    After a comma a noun is likelier, so only words that are hardly ever nouns count.
    """
    if word not in IMPERATIVES or (after_comma and (word in _NOUNS or not follower)):
        return False
    return not (word in _EITHER and (follower in _NOUN_FOLLOWERS or not follower))
