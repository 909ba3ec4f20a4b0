import {
  type HTMLAttributes,
  type ReactElement,
  type ReactNode,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { isSend, useChatSession, useLookAt, useTyping } from "../hooks.js";
import { useLabels, useShared } from "../provider.js";
import { never } from "../stores.js";
import { classes, UserStatusIndicator } from "./status.js";

export interface ChatMessage {
  readonly id?: string;
  /** The same while it is sent and when it has an id. */
  readonly clientId?: string | undefined;
  readonly senderId: string;
  readonly text?: string;
  /** In place of `text`: a text, or an object that has one. */
  readonly content?: unknown;
  readonly createdAt?: number | string | Date;
  readonly state?: "sending" | "sent" | "failed";
}

export interface ChatRoomProps<M extends ChatMessage = ChatMessage>
  extends HTMLAttributes<HTMLElement> {
  readonly chatSessionId: string;
  readonly currentUserId: string;
  readonly messages: readonly M[];
  /** If it throws, or its promise rejects, the text stays in the field. */
  readonly onSendMessage: (text: string) => unknown;
  readonly onRetryMessage?: (message: M) => void;
  readonly renderMessage?: (message: M) => ReactNode;
}

export function textOf({ text, content }: ChatMessage): string {
  const found = text ?? (content as { text?: unknown } | null | undefined)?.text ?? content;
  return typeof found === "string" ? found : "";
}

/** The time of day, in a browser: a server is in another time zone. */
function Time({ at }: { at: ChatMessage["createdAt"] }): ReactElement | null {
  const labels = useLabels();
  const isHydrated = useSyncExternalStore(
    never,
    () => true,
    () => false,
  );
  const date = new Date(at ?? Number.NaN);
  if (Number.isNaN(+date)) return null;
  return (
    <time dateTime={date.toISOString()}>
      {isHydrated && date.toLocaleTimeString(labels.locale, { timeStyle: "short" })}
    </time>
  );
}

type MessageProps = { message: ChatMessage; retry: (() => void) | undefined };

function Message({ message, retry }: MessageProps): ReactElement {
  const labels = useLabels();
  const { nameOf } = useShared();
  const { senderId, createdAt, state } = message;
  return (
    <>
      <UserStatusIndicator userId={senderId} size="xs" decorative /> <bdi>{nameOf(senderId)}</bdi>{" "}
      <Time at={createdAt} />
      <p dir="auto">{textOf(message)}</p>
      {state === "sending" && <small>{labels.sending}</small>}
      {state === "failed" && (
        <small>
          {labels.notSent}{" "}
          {retry && (
            <button type="button" onClick={retry}>
              {labels.retry}
            </button>
          )}
        </small>
      )}
    </>
  );
}

type ComposerProps = Pick<ChatRoomProps, "chatSessionId" | "onSendMessage">;

/** The field to write in. Apart, so that a key renders no message. */
function Composer({ chatSessionId, onSendMessage }: ComposerProps): ReactElement {
  const labels = useLabels();
  const { inputProps, stop } = useTyping(chatSessionId);
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");
  const isSending = useRef(false);

  const submit = async () => {
    if (isSending.current || !text.trim()) return;
    isSending.current = true;
    stop();
    setProblem("");
    try {
      await onSendMessage(text.trim());
      // What was typed meanwhile stays.
      setText((now) => (now.startsWith(text) ? now.slice(text.length) : now));
    } catch (error) {
      setProblem(`${labels.notSent} ${(error as Error)?.message ?? ""}`);
    }
    isSending.current = false;
  };

  return (
    <>
      <span role="status">{problem}</span>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <textarea
          {...inputProps}
          aria-label={labels.message}
          placeholder={labels.message}
          rows={1}
          dir="auto"
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            inputProps.onKeyDown(event);
            if (!isSend(event)) return;
            event.preventDefault();
            void submit();
          }}
        />
        <button type="submit">{labels.send}</button>
      </form>
    </>
  );
}

export interface TypingIndicatorProps extends HTMLAttributes<HTMLDivElement> {
  readonly chatSessionId: string;
}

/** Who is typing: dots and names for the eye, a polite sentence for the ear. */
export function TypingIndicator({
  chatSessionId,
  className,
  ...rest
}: TypingIndicatorProps): ReactElement {
  const { label } = useTyping(chatSessionId);
  return (
    <div {...rest} className={classes("typing", className)}>
      <span role="status" className="presence-hidden">
        {label}
      </span>
      {label && (
        <span aria-hidden>
          <i />
          <i />
          <i /> {label}
        </span>
      )}
    </div>
  );
}

/**
 * Messages with their senders' status, who is typing, and a field to write in. Of two in a room, the
 * other is verified when it is opened, and when it gets the focus.
 */
export function ChatRoom<M extends ChatMessage>({
  chatSessionId,
  currentUserId,
  messages,
  onSendMessage,
  onRetryMessage,
  renderMessage,
  className,
  ...rest
}: ChatRoomProps<M>): ReactElement {
  const labels = useLabels();
  const { client } = useShared();
  const { state, error, members } = useChatSession(chatSessionId);
  const [peer = "", another] = members.filter((id) => id !== currentUserId);
  const other = another ? "" : peer;
  useLookAt(other);
  const retry = (message: M) => onRetryMessage && (() => onRetryMessage(message));
  return (
    <section
      aria-label={labels.chat(chatSessionId)}
      onFocus={({ currentTarget, relatedTarget }) => {
        const isIn = currentTarget.contains(relatedTarget);
        if (other && !isIn) client.verify([other]).catch(() => {});
      }}
      {...rest}
      className={classes("chat", className)}
    >
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: whatever scrolls has to be reachable */}
      <div role="log" aria-label={labels.messages} tabIndex={0}>
        <ol>
          {messages.map((message, at) => (
            <li
              key={`${message.senderId} ${message.clientId ?? message.id ?? ~at}`}
              data-own={message.senderId === currentUserId ? "" : undefined}
              data-state={message.state}
            >
              {renderMessage ? (
                renderMessage(message)
              ) : (
                <Message message={message} retry={retry(message)} />
              )}
            </li>
          ))}
        </ol>
      </div>
      <TypingIndicator chatSessionId={chatSessionId} />
      <span role="status">
        {state === "refused" && `${labels.refused} ${error?.message ?? ""}`}
      </span>
      <Composer key={chatSessionId} chatSessionId={chatSessionId} onSendMessage={onSendMessage} />
    </section>
  );
}
