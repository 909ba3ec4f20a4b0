// What an application says of its data is the type of all that has them. Compiled by
// tests/client/types-of-data.test.ts, apart from all else: it holds for a whole program.

import { createPresenceClient, type UserPresence } from "../../src/index.js";
import { useMyPresence, useUserStatus } from "../../src/react/index.js";

declare module "../../src/index.js" {
  interface PresenceTypes {
    user: { name: string; avatar?: string; at: { page: string; lines: readonly number[] } };
  }
}

const client = createPresenceClient({ apiUrl: "" });

export const nameOf = ({ data }: UserPresence): string | undefined => data?.name;
// @ts-expect-error of a user who is offline it is not known
export const certain = ({ data }: UserPresence): string => data.name;
// @ts-expect-error no such name
export const agedOf = ({ data }: UserPresence) => data?.age;

client.setData({ name: "Ada", at: { page: "/", lines: [] } });
// @ts-expect-error without a name
client.setData({ at: { page: "/", lines: [] } });
client.patchData({ avatar: null, at: { page: "/inbox" } });
client.patchData({ at: { lines: [1, 2] } });
// @ts-expect-error a page is a text
client.patchData({ at: { page: 1 } });
// @ts-expect-error a list is replaced as a whole
client.patchData({ at: { lines: { 0: 1 } } });
client.setStatus("busy", { data: { name: "Ada", at: { page: "/", lines: [] } } });
// @ts-expect-error no such name
client.setStatus("busy", { data: { nom: "Ada" } });

export function Page({ userId }: { readonly userId: string }) {
  const { data, patchData } = useMyPresence();
  const page: string | undefined = useUserStatus(userId)?.data?.at.page;
  const follow = () => page && patchData({ at: { page } });
  return (
    <button type="button" onClick={follow}>
      {data?.name} {page}
    </button>
  );
}
