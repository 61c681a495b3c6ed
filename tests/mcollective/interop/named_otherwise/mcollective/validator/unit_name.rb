module MCollective
  module Validator
    # The validator that the node has and nobody else.
    class Unit_nameValidator
      def self.validate(unit)
        raise "#{unit} is no name of a unit" unless unit =~ /\A[a-z0-9.@-]+\z/
      end
    end
  end
end
