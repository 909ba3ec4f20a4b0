import type { HTMLAttributes, ReactElement } from "react";
import { useTyping } from "../hooks.js";
import { classes } from "./status.js";

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
