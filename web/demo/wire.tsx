import { memo, useLayoutEffect, useRef, useState } from "react";
import {
  commandsOf,
  contains,
  gistOf,
  isError,
  isHeartbeat,
  type LoggedFrame,
  nameOf,
} from "./frames.js";
import { useValue } from "./observable.js";
import { CopyButton, timeOfDay } from "./parts.js";
import type { Person } from "./person.js";

/** So near its end a log follows what comes. */
const NEAR_END = 40;

function Whole({ logged, person }: { logged: LoggedFrame; person: Person }) {
  const text = JSON.stringify(logged.frame, null, 2);
  const device = person.devices.get().find(({ name }) => name === logged.device);
  const commands = commandsOf(logged.frame, {
    userId: person.userId,
    apiUrl: location.origin,
    webSocketUrl: device?.url ?? "",
  });
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable */}
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset holds controls */}
      <pre tabIndex={0} role="group" aria-label="The whole frame">
        {text}
      </pre>
      <div className="copies">
        <CopyButton name="Copy frame" text={text} />
        {commands.map((command) => (
          <CopyButton key={command.name} name={`Copy as ${command.name}`} text={command.text} />
        ))}
      </div>
    </>
  );
}

const Row = memo(({ logged, person }: { logged: LoggedFrame; person: Person }) => {
  const [isOpen, setOpen] = useState(false);
  const { frame, direction, isLost, at, device } = logged;
  const kind = isError(frame) ? "error" : direction;
  return (
    <li>
      <details
        data-kind={kind}
        data-lost={isLost ? "" : undefined}
        onToggle={(event) => {
          setOpen(event.currentTarget.open);
          if (event.currentTarget.open) event.currentTarget.scrollIntoView({ block: "nearest" });
        }}
      >
        <summary>
          <time dateTime={new Date(at).toISOString()}>{timeOfDay(at)}</time>{" "}
          <span role="img" aria-label={direction === "out" ? "sent" : "heard"}>
            {direction === "out" ? "↑" : "↓"}
          </span>{" "}
          <b>{nameOf(frame)}</b> <span className="gist">{gistOf(frame)}</span>{" "}
          {isLost && <em>lost</em>} <small>{device}</small>
        </summary>
        {isOpen && <Whole logged={logged} person={person} />}
      </details>
    </li>
  );
});

interface Filter {
  readonly hasHeartbeats: boolean;
  readonly wanted: string;
}

function passes({ frame, isLost }: LoggedFrame, { hasHeartbeats, wanted }: Filter): boolean {
  const isWorthIt = hasHeartbeats || isLost || !isHeartbeat(frame);
  return isWorthIt && (!wanted || contains(frame, wanted));
}

function FilterFields({ filter, set }: { filter: Filter; set: (filter: Filter) => void }) {
  return (
    <>
      <input
        type="search"
        aria-label="Filter the frames"
        placeholder="Filter"
        value={filter.wanted}
        onChange={(event) => set({ ...filter, wanted: event.target.value })}
      />
      <label>
        <input
          type="checkbox"
          checked={filter.hasHeartbeats}
          onChange={(event) => set({ ...filter, hasHeartbeats: event.target.checked })}
        />
        heartbeats
      </label>
    </>
  );
}

/** Every frame that passes between a person's devices and the server. */
export function Wire({ person }: { person: Person }) {
  const log = useValue(person.log);
  const [filter, setFilter] = useState<Filter>({ hasHeartbeats: false, wanted: "" });
  const scroller = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const shown = log.filter((logged) => passes(logged, filter));
  const last = shown.at(-1)?.key;
  // biome-ignore lint/correctness/useExhaustiveDependencies: it follows the last frame
  useLayoutEffect(() => {
    const box = scroller.current;
    if (box && isAtEnd.current) box.scrollTop = box.scrollHeight;
  }, [last]);
  return (
    <div className="wire">
      <div className="wire-head">
        <h3>Wire</h3>
        <FilterFields filter={filter} set={setFilter} />
        <button type="button" className="small" onClick={() => person.log.set([])}>
          Clear
        </button>
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: a section has no name of its own */}
      <div
        ref={scroller}
        className="scroller"
        role="region"
        aria-label={`Wire log of ${person.name}`}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable
        tabIndex={0}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
          isAtEnd.current = scrollHeight - scrollTop - clientHeight < NEAR_END;
        }}
      >
        {shown.length === 0 && (
          <p className="hint">{filter.wanted ? "No such frame." : "No frame yet."}</p>
        )}
        <ol aria-label="Frames">
          {shown.map((logged) => (
            <Row key={logged.key} logged={logged} person={person} />
          ))}
        </ol>
      </div>
    </div>
  );
}
