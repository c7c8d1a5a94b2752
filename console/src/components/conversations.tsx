// Conversations with visitors, as inert text.
import type { Conversation } from "../model";
import { count, second } from "../text";
import { Text } from "./parts";

export interface ConversationListProps {
  conversations: Conversation[];
  hasMore: boolean;
  heading: "h2" | "h3";
}

export function ConversationList({ conversations, hasMore, heading: Heading }: ConversationListProps) {
  return (
    <section aria-label="Conversations">
      <p class="muted">
        {conversations.length ? `${count(conversations.length, "conversation")}. ` : "No conversations."}
        {conversations.length > 0 && "Visitors wrote the quoted text; anybody can be a visitor."}
      </p>
      <ol class="conversations">
        {conversations.map((conversation) => (
          <li key={conversation.id} class="row">
            <Heading>
              <code>
                <Text>{conversation.id}</Text>
              </code>
            </Heading>
            <p class="meta">
              {conversation.messageCount !== null && <span>{count(conversation.messageCount, "message")}</span>}
              {conversation.createdAt && <span>Started {second(conversation.createdAt)}</span>}
              {conversation.updatedAt && <span>Last {second(conversation.updatedAt)}</span>}
            </p>
            {conversation.words.length > 0 && (
              <blockquote>
                {conversation.words.map(([what, text]) => (
                  <p key={`${what} ${text}`}>
                    {what && <span class="muted">{what}: </span>}
                    <Text limit={300}>{text}</Text>
                  </p>
                ))}
              </blockquote>
            )}
          </li>
        ))}
      </ol>
      {hasMore && <p class="muted">There are older ones: ask for them in the conversation with the assistant.</p>}
    </section>
  );
}
