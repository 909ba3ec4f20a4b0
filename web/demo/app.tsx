import { type FormEvent, type RefObject, useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";
import { Calculator } from "./calculator.js";
import { Drawer } from "./drawer.js";
import { Gallery } from "./gallery.js";
import { Observable, useValue } from "./observable.js";
import { Pane } from "./pane.js";
import { IdField } from "./parts.js";
import { Person } from "./person.js";
import { StackHealth } from "./stack.js";

const OTHERS = ["linus", "margaret", "alan", "katherine"];
const MOST = 6;

const asked = new URLSearchParams(location.search);
const session = asked.get("session") || "lobby";
const health = new StackHealth();
const people = new Observable<readonly Person[]>([]);

function add(userId: string): void {
  if (people.get().some((person) => person.userId === userId)) return;
  const person = new Person(userId);
  person.open("tab");
  people.set([...people.get(), person]);
  remember();
}

function remove(person: Person): void {
  person.closeAll();
  people.set(people.get().filter((other) => other !== person));
  remember();
}

/** The address names the people, so that a page that is loaded again has them, too. */
function remember(): void {
  const [, , ...others] = people.get().map((person) => person.userId);
  const url = new URL(location.href);
  url.searchParams.delete("also");
  for (const userId of others) url.searchParams.append("also", userId);
  if (url.href !== location.href) history.replaceState(null, "", url);
}

const devices = () => people.get().flatMap((person) => person.devices.get());

function inTrouble(): boolean {
  return devices().some(({ client, state }) => {
    const isSpared = ["ready", "failed", "closed"].includes(client.connection.get().name);
    return !isSpared && state.get().condition === "works";
  });
}

const both = [asked.get("left") || "ada", asked.get("right") || "grace"];
for (const userId of [...both, ...asked.getAll("also")].slice(0, MOST)) add(userId);
void health.watch(inTrouble, () => {
  for (const { client } of devices()) client.retryNow();
});

const VIEWS = { live: "Live", gallery: "Components", cost: "Cost" };

type View = keyof typeof VIEWS;

function viewAsked(): View {
  const asked = location.hash.slice(1);
  return Object.hasOwn(VIEWS, asked) ? (asked as View) : "live";
}

function useView(): View {
  const [view, setView] = useState(viewAsked);
  useEffect(() => {
    // The link that skips to the content does not change the view.
    const changed = () => location.hash !== "#main" && setView(viewAsked());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return view;
}

function AddPerson({ shown }: { shown: readonly Person[] }) {
  const ids = shown.map((person) => person.userId);
  const next = OTHERS.find((userId) => !ids.includes(userId)) ?? "";
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    add((new FormData(form).get("userId") as string).trim() || next);
    form.reset();
  };
  return (
    <form className="add-person" onSubmit={submit}>
      <IdField
        name="userId"
        aria-label="User id of another person"
        placeholder={next}
        required={!next}
      />
      <button type="submit">Add a person</button>
    </form>
  );
}

function Header({
  view,
  isOpen,
  opener,
  toggle,
}: {
  view: View;
  isOpen: boolean;
  opener: RefObject<HTMLButtonElement | null>;
  toggle: () => void;
}) {
  return (
    <header className="top">
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <h1>
        <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden>
          <circle className="logo-ring" cx="12" cy="16" r="9" />
          <circle className="logo-disc" cx="21" cy="16" r="8" />
        </svg>
        Presence
      </h1>
      <nav aria-label="Views">
        {Object.entries(VIEWS).map(([name, label]) => (
          <a key={name} href={`#${name}`} aria-current={view === name ? "page" : undefined}>
            {label}
          </a>
        ))}
      </nav>
      <button
        ref={opener}
        type="button"
        className="quiet-button"
        aria-expanded={isOpen}
        aria-controls="drawer"
        onClick={toggle}
      >
        <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden>
          <path d="M2 3h12v4H2zM2 9h12v4H2z" fill="none" stroke="currentColor" strokeWidth="1.5" />
          <path d="M4.5 5h1M4.5 11h1" stroke="currentColor" strokeWidth="1.5" />
        </svg>
        Server
      </button>
    </header>
  );
}

/** All people on the page, each with their devices. */
function Live({ shown }: { shown: readonly Person[] }) {
  return (
    <>
      <div className="intro">
        <p>
          <strong>See who is there, the moment it changes.</strong>
          Each person has devices of their own, on a network that you may break. Type, pull the
          plug, close a tab, and look at the other side.
        </p>
        {shown.length < MOST && <AddPerson shown={shown} />}
      </div>
      <div className="panes" data-count={shown.length}>
        {shown.map((person, at) => (
          <Pane
            key={person.userId}
            person={person}
            session={session}
            {...(at > 1 ? { remove: () => remove(person) } : {})}
          />
        ))}
      </div>
    </>
  );
}

function Footer() {
  return (
    <footer className="bottom">
      <p>
        Other people: <a href="?left=linus&right=margaret">?left=linus&amp;right=margaret</a>
      </p>
      <p>
        From a terminal: <code>.venv/bin/presence watch</code>,{" "}
        <code>.venv/bin/presence join margaret</code>
      </p>
    </footer>
  );
}

function App() {
  const view = useView();
  const shown = useValue(people);
  const isDown = useValue(health.isDown);
  const [isOpen, setOpen] = useState(false);
  const opener = useRef<HTMLButtonElement>(null);
  const close = () => {
    setOpen(false);
    opener.current?.focus();
  };
  return (
    <div className="page" data-drawer={isOpen ? "open" : undefined}>
      <Header view={view} isOpen={isOpen} opener={opener} toggle={() => setOpen(!isOpen)} />
      <div className="notice-place" role="status">
        {isDown && (
          <p className="notice">
            <strong>The local stack does not answer.</strong> Start it with <code>make up</code>,
            and this page connects by itself.
          </p>
        )}
      </div>
      <main id="main" tabIndex={-1}>
        <div hidden={view !== "live"}>
          <Live shown={shown} />
        </div>
        {view === "gallery" && <Gallery />}
        {view === "cost" && <Calculator />}
      </main>
      <Footer />
      <Drawer isOpen={isOpen} close={close} people={shown} />
    </div>
  );
}

const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);
